//! A whole connection: any bytes where yamux frames should be.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::serve(bytes);
});
