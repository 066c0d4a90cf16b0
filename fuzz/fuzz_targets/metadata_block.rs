#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    thinly_engine::fuzzing::metadata_block(data);
});
