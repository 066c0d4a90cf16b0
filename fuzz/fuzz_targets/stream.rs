#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thinly_engine::fuzzing::stream(data);
});
