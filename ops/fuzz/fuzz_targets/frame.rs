#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| abstream_fuzz::frame(bytes));
