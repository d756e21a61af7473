module gobcases

go 1.24
