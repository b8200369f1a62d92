//! Fuzzes commit notifications. With a secret, none is read that was not signed.
#![no_main]

use connector_common::Secret;
use connector_common::committed::Signatures;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: (Option<&[u8]>, &[u8])| {
    let (key, value) = record;
    let secret = Secret::from("one secret of many".to_owned());
    let with_secret = Signatures::new("events", Some(&secret));
    assert!(with_secret.read(key, value).is_err());
    let Ok(commit) = Signatures::new("events", None).read(key, value) else {
        return;
    };
    let signed = with_secret.record(&commit).expect("a notification as JSON");
    let read = with_secret.read(Some(signed.key.as_bytes()), &signed.value);
    assert_eq!(read.expect("its own signature"), commit);
});
