// Writes one gob stream a case, and what its values are as JSON: `go run .` in this folder makes *.bin and values.json.
//
// The JSON is written by hand, not derived, so it is a second opinion. Its rules: a struct is an object of the fields
// that gob sends, so zero values are missing; bytes are "0x" and hex digits; a complex number is a pair; a map whose keys are no
// strings is a list of pairs, sorted as text; a nil interface is null; an infinite float is a string.
package main

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"math"
	"os"
	"slices"
	"time"
)

type Point struct{ X, Y int }

type Label struct {
	Name  string
	Where Point
}

type Box struct {
	Before  string
	Content any
	After   string
}

type Pair struct{ First, Second any }

type Base struct{ Kind string }

type Mixed struct {
	Base
	hidden int
	Shown  bool
	Ptr    *Point
	Zero   *int
	Empty  []string
	Fn     func()
}

type Node struct {
	Value       int
	Left, Right *Node
}

type List []List

type Numbers struct {
	I8    int8
	I64   int64
	U8    uint8
	U64   uint64
	F32   float32
	F64   float64
	C     complex128
	Flag  bool
	Rune  rune
	Took  time.Duration
	Bytes []byte
	Raw   json.RawMessage
}

type Arrays struct {
	Ints   [3]int
	Points [2]Point
	Grid   [2][2]uint8
	None   [0]int
	Bytes  [4]byte
	Zero   [2]string
}

type Maps struct {
	Points map[string]Point
	Names  map[int]string
	Any    map[string]any
	Deep   map[string]map[string][]string
	Nil    map[string]string
	Empty  map[string]string
	Keys   map[Point]bool
}

type Slices struct {
	Points []Point
	Ptrs   []*Point
	Blobs  [][]byte
	Nested [][]string
	Floats []float64
	Flags  []bool
	Units  []struct{}
}

type Custom struct {
	Gob    ByGob
	Binary ByBinary
	Text   ByText
	When   time.Time
	Never  time.Time
	Maybe  *time.Time
	List   []ByGob
}

type ByGob struct{ text string }

func (c ByGob) GobEncode() ([]byte, error)   { return []byte("gob:" + c.text), nil }
func (c *ByGob) GobDecode(data []byte) error { c.text = string(data); return nil }

type ByBinary struct{ text string }

func (c ByBinary) MarshalBinary() ([]byte, error)     { return []byte("bin:" + c.text), nil }
func (c *ByBinary) UnmarshalBinary(data []byte) error { c.text = string(data); return nil }

// gob does not use MarshalText: it is a plain struct.
type ByText struct{ Text string }

func (c ByText) MarshalText() ([]byte, error)     { return []byte("txt:" + c.Text), nil }
func (c *ByText) UnmarshalText(data []byte) error { c.Text = string(data); return nil }

type stream struct {
	values []any
	json   string
}

func iface(value any) *any { return &value }

func main() {
	for name, value := range map[string]any{
		"Point": Point{}, "Label": Label{}, "Box": Box{}, "Pair": Pair{}, "Node": Node{}, "Arrays": Arrays{}, "ByGob": ByGob{},
		"time": time.Time{}, "points": []Point{}, "anys": []any{}, "map": map[string]any{}, "names": map[int]string{}, "ByText": ByText{},
	} {
		gob.RegisterName(name, value)
	}
	when := time.Date(2026, 11, 24, 10, 20, 30, 40, time.UTC)
	const whenHex = `"0x010000000ee2975bee00000028ffff"`
	node := &Node{1, &Node{2, nil, &Node{3, nil, nil}}, &Node{}}

	cases := map[string]stream{
		"scalars": {
			[]any{true, false, 0, -1, int64(math.MinInt64), int64(math.MaxInt64), uint(0), uint64(math.MaxUint64), "", "grüß", 1.5, -0.25, float32(3), complex(1, -2), []byte{0, 255}, []byte{}, math.Inf(1)},
			`[true, false, 0, -1, -9223372036854775808, 9223372036854775807, 0, 18446744073709551615, "", "grüß", 1.5, -0.25, 3.0, [1.0, -2.0], "0x00ff", "0x", "inf"]`,
		},
		"numbers": {
			[]any{
				Numbers{-8, 1 << 40, 200, 1 << 63, 0.5, math.Pi, complex(0.5, 0), true, 'é', time.Minute, []byte("abc"), json.RawMessage(`{"a":1}`)},
				Numbers{},
			},
			`[{"I8": -8, "I64": 1099511627776, "U8": 200, "U64": 9223372036854775808, "F32": 0.5, "F64": 3.141592653589793, "C": [0.5, 0.0],
			   "Flag": true, "Rune": 233, "Took": 60000000000, "Bytes": "0x616263", "Raw": "0x7b2261223a317d"}, {}]`,
		},
		"structs": {
			[]any{
				Mixed{Base: Base{"k"}, hidden: 7, Shown: true, Ptr: &Point{}, Zero: new(int), Empty: []string{}},
				Mixed{}, struct{}{}, Label{"a", Point{1, -2}}, &Label{"b", Point{}},
			},
			`[{"Base": {"Kind": "k"}, "Shown": true, "Ptr": {}}, {"Base": {}}, {}, {"Name": "a", "Where": {"X": 1, "Y": -2}}, {"Name": "b", "Where": {}}]`,
		},
		"recursive": {
			[]any{node, List{{}, {{}}}},
			`[{"Value": 1, "Left": {"Value": 2, "Right": {"Value": 3}}, "Right": {}}, [[], [[]]]]`,
		},
		"arrays": {
			[]any{
				Arrays{Ints: [3]int{1, 0, 3}, Points: [2]Point{{1, 2}, {}}, Grid: [2][2]uint8{{1, 2}, {3, 0}}, Bytes: [4]byte{9, 8, 7, 6}},
				[3]string{"a", "", "c"},
			},
			`[{"Ints": [1, 0, 3], "Points": [{"X": 1, "Y": 2}, {}], "Grid": [[1, 2], [3, 0]], "None": [], "Bytes": [9, 8, 7, 6], "Zero": ["", ""]}, ["a", "", "c"]]`,
		},
		"slices": {
			[]any{
				Slices{[]Point{{1, 0}, {}}, []*Point{{0, 2}}, [][]byte{{1}, {}, nil}, [][]string{nil, {"a", ""}}, []float64{0, 2.5}, []bool{true, false}, []struct{}{{}, {}, {}}},
				[]int{0, 1, -300}, []string{},
			},
			`[{"Points": [{"X": 1}, {}], "Ptrs": [{"Y": 2}], "Blobs": ["0x01", "0x", "0x"], "Nested": [[], ["a", ""]], "Floats": [0.0, 2.5], "Flags": [true, false],
			   "Units": [{}, {}, {}]}, [0, 1, -300], []]`,
		},
		"maps": {
			[]any{
				Maps{
					map[string]Point{"a": {1, 2}, "zero": {}}, map[int]string{-1: "minus", 2: ""},
					map[string]any{"nil": nil, "point": Point{3, 0}, "text": "t"}, map[string]map[string][]string{"a": {"b": {"c", "d"}, "e": nil}},
					nil, map[string]string{}, map[Point]bool{{1, 2}: false},
				},
				map[string]int{"one": 1},
			},
			`[{"Points": {"a": {"X": 1, "Y": 2}, "zero": {}}, "Names": [[-1, "minus"], [2, ""]], "Any": {"nil": null, "point": {"X": 3}, "text": "t"},
			   "Deep": {"a": {"b": ["c", "d"], "e": []}}, "Empty": {}, "Keys": [[{"X": 1, "Y": 2}, false]]}, {"one": 1}]`,
		},
		"custom": {
			[]any{Custom{ByGob{"a"}, ByBinary{"b"}, ByText{"c"}, when, time.Time{}, &when, []ByGob{{"x"}, {}}}, Custom{}, when, ByText{"top"}},
			`[{"Gob": "0x676f623a61", "Binary": "0x62696e3a62", "Text": {"Text": "c"}, "When": ` + whenHex + `, "Maybe": ` + whenHex + `,
			   "List": ["0x676f623a78", "0x676f623a"]}, {"Text": {}}, ` + whenHex + `, {"Text": "top"}]`,
		},
		// An interface at the top cuts the value before its definitions.
		"interface_top": {
			[]any{iface(nil), iface(Label{"a", Point{1, 2}}), iface(Label{"b", Point{}}), iface(nil), iface(5), iface("five"), iface([]byte{5}), iface(when), iface(node)},
			`[null, {"Name": "a", "Where": {"X": 1, "Y": 2}}, {"Name": "b", "Where": {}}, null, 5, "five", "0x05", ` + whenHex + `,
			  {"Value": 1, "Left": {"Value": 2, "Right": {"Value": 3}}, "Right": {}}]`,
		},
		// Definitions in the middle of a struct that has more fields after them.
		"interface_field": {
			[]any{
				Box{"b", Label{"in", Point{1, 0}}, "a"}, Box{"b2", Label{"again", Point{}}, "a2"}, Box{"b3", Arrays{}, "a3"}, Box{"", nil, "a4"}, Box{},
				Box{"list", []Point{{1, 1}}, "end"}, Box{"custom", ByGob{"g"}, "end"},
			},
			`[{"Before": "b", "Content": {"Name": "in", "Where": {"X": 1}}, "After": "a"}, {"Before": "b2", "Content": {"Name": "again", "Where": {}}, "After": "a2"},
			  {"Before": "b3", "Content": {"Ints": [0, 0, 0], "Points": [{}, {}], "Grid": [[0, 0], [0, 0]], "None": [], "Bytes": [0, 0, 0, 0], "Zero": ["", ""]}, "After": "a3"},
			  {"After": "a4"}, {}, {"Before": "list", "Content": [{"X": 1, "Y": 1}], "After": "end"}, {"Before": "custom", "Content": "0x676f623a67", "After": "end"}]`,
		},
		// Several cuts in one value.
		"interface_list": {
			[]any{
				[]any{1, Point{1, 2}, nil, Label{"l", Point{}}, "s", ByText{"t"}, Point{}, node, []any{nil, map[string]any{"k": 1.5}}},
				Pair{Point{1, 2}, Label{"x", Point{3, 4}}},
			},
			`[[1, {"X": 1, "Y": 2}, null, {"Name": "l", "Where": {}}, "s", {"Text": "t"}, {}, {"Value": 1, "Left": {"Value": 2, "Right": {"Value": 3}}, "Right": {}}, [null, {"k": 1.5}]],
			  {"First": {"X": 1, "Y": 2}, "Second": {"Name": "x", "Where": {"X": 3, "Y": 4}}}]`,
		},
		// Interfaces in interfaces: the inner ones' definitions are inlined, with counts.
		"interface_nested": {
			[]any{
				iface(Box{"1", Box{"2", Box{"3", Label{"deep", Point{1, 2}}, "3"}, "2"}, "1"}),
				iface(Box{"again", Label{"known", Point{}}, "end"}),
				iface(Pair{Pair{Arrays{}, ByGob{"g"}}, Pair{[]Point{{7, 7}}, map[string]any{"n": map[int]string{1: "one"}}}}),
				Box{"plain", Pair{node, Box{"", when, ""}}, "end"},
				[]any{[]any{[]any{ByText{"t"}, nil}}},
			},
			`[{"Before": "1", "Content": {"Before": "2", "Content": {"Before": "3", "Content": {"Name": "deep", "Where": {"X": 1, "Y": 2}}, "After": "3"}, "After": "2"}, "After": "1"},
			  {"Before": "again", "Content": {"Name": "known", "Where": {}}, "After": "end"},
			  {"First": {"First": {"Ints": [0, 0, 0], "Points": [{}, {}], "Grid": [[0, 0], [0, 0]], "None": [], "Bytes": [0, 0, 0, 0], "Zero": ["", ""]}, "Second": "0x676f623a67"},
			   "Second": {"First": [{"X": 7, "Y": 7}], "Second": {"n": [[1, "one"]]}}},
			  {"Before": "plain", "Content": {"First": {"Value": 1, "Left": {"Value": 2, "Right": {"Value": 3}}, "Right": {}}, "Second": {"Content": ` + whenHex + `}}, "After": "end"},
			  [[[{"Text": "t"}, null]]]]`,
		},
	}

	var expected bytes.Buffer
	for number, name := range slices.Sorted(maps.Keys(cases)) {
		var stream bytes.Buffer
		encoder := gob.NewEncoder(&stream)
		for _, value := range cases[name].values {
			if err := encoder.Encode(value); err != nil {
				log.Fatalf("%s: %v", name, err)
			}
		}
		if err := os.WriteFile(name+".bin", stream.Bytes(), 0o644); err != nil {
			log.Fatal(err)
		}
		separator := "{\n"
		if number > 0 {
			separator = ",\n"
		}
		fmt.Fprintf(&expected, "%s%q: ", separator, name)
		if err := json.Compact(&expected, []byte(cases[name].json)); err != nil {
			log.Fatalf("%s: %v", name, err)
		}
	}
	expected.WriteString("\n}\n")
	if err := os.WriteFile("values.json", expected.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
