//! SmartModules on streams, with the behaviour of the real server.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvio::Offset;
use fluvio::consumer::{ConsumerConfig, SmartModuleExtraParams, SmartModuleInvocation};
use fluvio::dataplane::link::ErrorCode;
use fluvio::metadata::smartmodule::SmartModuleSpec;
use fluvio_smartmodule::dataplane::smartmodule::Lookback;

use crate::support::{Fixture, next, numbered, send, values};
use crate::wasm::{self, ad_hoc, by_name};

fn config(chain: Vec<SmartModuleInvocation>) -> ConsumerConfig {
    ConsumerConfig::builder()
        .smartmodule(chain)
        .build()
        .unwrap()
}

async fn filled() -> Fixture {
    let fixture = Fixture::with_topic("t", 1).await;
    let producer = fixture.producer("t", 0).await;
    send(&producer, &numbered("a", 3)).await;
    send(&producer, &numbered("b", 2)).await;
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn one_read_becomes_one_batch_without_timestamps() {
    let fixture = filled().await;
    let chain = vec![ad_hoc(&wasm::identity())];
    let mut stream = fixture
        .stream("t", 0, Offset::beginning(), config(chain))
        .await;
    let batch = next(&mut stream).await.unwrap();
    assert_eq!((batch.get_base_offset(), batch.get_last_offset()), (0, 4));
    assert_eq!(values(&batch), ["a-0", "a-1", "a-2", "b-0", "b-1"]);
    assert_eq!(batch.get_base_timestamp(), -1);

    let producer = fixture.producer("t", 0).await;
    send(&producer, &numbered("c", 1)).await;
    let batch = next(&mut stream).await.unwrap();
    assert_eq!(batch.get_base_offset(), 5);
    assert_eq!(values(&batch), ["c-0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_inside_a_batch_the_whole_batch_comes() {
    let fixture = filled().await;
    let chain = vec![ad_hoc(&wasm::identity())];
    let mut stream = fixture
        .stream("t", 0, crate::support::at(4), config(chain))
        .await;
    let batch = next(&mut stream).await.unwrap();
    assert_eq!(batch.get_base_offset(), 3);
    assert_eq!(values(&batch), ["b-0", "b-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_records_out_than_in_shift_the_offsets_that_a_consumer_sees() {
    let fixture = filled().await;
    let chain = vec![ad_hoc(&wasm::twice())];
    let mut stream = fixture
        .stream("t", 0, Offset::beginning(), config(chain))
        .await;
    let batch = next(&mut stream).await.unwrap();
    // The header counts the input; the records are the output.
    assert_eq!((batch.get_base_offset(), batch.get_last_offset()), (0, 4));
    assert_eq!(batch.records().len(), 10);
    let records: Vec<_> = batch.into_consumer_records_iter(0).collect();
    assert_eq!(records[9].offset, 9);

    let producer = fixture.producer("t", 0).await;
    send(&producer, &numbered("c", 1)).await;
    assert_eq!(next(&mut stream).await.unwrap().get_base_offset(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn smartmodules_are_found_by_name_chained_and_given_parameters() {
    let fixture = filled().await;
    let admin = &fixture.admin;
    for (name, wasm) in [
        ("twice", wasm::twice()),
        ("params", wasm::identity_with_parameters()),
    ] {
        admin
            .create(name.to_owned(), false, wasm::spec(&wasm))
            .await
            .unwrap();
    }
    let listed = admin.all::<SmartModuleSpec>().await.unwrap();
    assert_eq!(listed.len(), 2);

    let mut with_params = by_name("params");
    with_params.params = SmartModuleExtraParams::new(
        BTreeMap::from([("key".to_owned(), "value".to_owned())]),
        None,
    );
    let chain = vec![by_name("twice"), with_params, by_name("twice")];
    let mut stream = fixture
        .stream("t", 0, Offset::beginning(), config(chain))
        .await;
    assert_eq!(next(&mut stream).await.unwrap().records().len(), 20);

    let chain = vec![by_name("params")];
    let mut stream = fixture
        .stream("t", 0, Offset::beginning(), config(chain))
        .await;
    let err = next(&mut stream).await.unwrap_err();
    assert!(
        matches!(err, ErrorCode::SmartModuleChainInitError(_)),
        "{err:?}"
    );

    // A replaced SmartModule survives a restart; a deleted one doesn't.
    let nothing = wasm::spec(&wasm::identity());
    admin
        .create("twice".to_owned(), false, nothing)
        .await
        .unwrap();
    admin.delete::<SmartModuleSpec>("params").await.unwrap();
    let missing = admin.delete::<SmartModuleSpec>("params").await.unwrap_err();
    assert!(missing.to_string().contains("not found"), "{missing}");
    let fixture = fixture.restart().await;
    let chain = vec![by_name("twice")];
    let mut stream = fixture
        .stream("t", 0, Offset::beginning(), config(chain))
        .await;
    assert_eq!(next(&mut stream).await.unwrap().records().len(), 5);
    let chain = vec![by_name("params")];
    let mut stream = fixture
        .stream("t", 0, Offset::beginning(), config(chain))
        .await;
    let err = next(&mut stream).await.unwrap_err();
    assert_eq!(
        err,
        ErrorCode::SmartModuleNotFound {
            name: "params".to_owned()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smartmodule_looks_back_on_the_last_records_or_the_young() {
    let fixture = filled().await;
    let minute = Duration::from_secs(60);
    let shown = [
        (Lookback::last(3), true),
        (Lookback::last(4), false),
        (Lookback::age(minute, Some(3)), true),
        (Lookback::age(minute, None), false), // five
        (Lookback::age(Duration::ZERO, Some(3)), false),
    ];
    for (lookback, three) in shown {
        let described = format!("{lookback:?}");
        let mut invocation = ad_hoc(&wasm::identity_with_three_to_look_back_on());
        invocation.params = SmartModuleExtraParams::new(BTreeMap::new(), Some(lookback));
        let config = config(vec![invocation]);
        let mut stream = fixture.stream("t", 0, Offset::beginning(), config).await;
        match next(&mut stream).await {
            Ok(batch) => assert!(three && batch.records().len() == 5, "{described}"),
            Err(ErrorCode::SmartModuleLookBackError(_)) => assert!(!three, "{described}"),
            Err(err) => panic!("{described}: {err:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_smartmodules_are_refused() {
    let fixture = filled().await;
    for (wasm, what) in [
        (&b"no wasm"[..], "garbage"),
        (b"\0asm\x01\0\0\0", "an empty module"),
    ] {
        let chain = vec![ad_hoc(wasm)];
        let mut stream = fixture
            .stream("t", 0, Offset::beginning(), config(chain))
            .await;
        let err = next(&mut stream).await.unwrap_err();
        assert!(
            matches!(err, ErrorCode::SmartModuleChainInitError(_)),
            "{what}: {err:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_smartmodule_is_told_and_the_stream_goes_on_behind_the_read() {
    let fixture = filled().await;
    let chain = vec![ad_hoc(&wasm::error())];
    let mut stream = fixture
        .stream("t", 0, Offset::beginning(), config(chain))
        .await;
    // The error comes with an empty batch, which is returned first.
    assert!(next(&mut stream).await.unwrap().records().is_empty());
    let ErrorCode::SmartModuleRuntimeError(err) = next(&mut stream).await.unwrap_err() else {
        panic!("another error");
    };
    assert_eq!(err.hint, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_ends_the_stream() {
    let fixture = filled().await;
    let chain = vec![ad_hoc(&wasm::trap())];
    let mut stream = fixture
        .stream("t", 0, Offset::beginning(), config(chain))
        .await;
    let err = next(&mut stream).await.unwrap_err();
    assert!(
        matches!(&err, ErrorCode::Other(it) if it.starts_with("SmartModule err")),
        "{err:?}"
    );
}

/// Like the real server: if the first batch's output is larger than `max_bytes`, nothing is sent,
/// and the stream continues at the end that the log had at the time.
#[tokio::test(flavor = "multi_thread")]
async fn too_large_an_output_is_passed_over() {
    let fixture = Fixture::with_topic("t", 1).await;
    let producer = fixture.producer("t", 0).await;
    send(&producer, &["x".repeat(5000)]).await;
    send(&producer, &numbered("small", 1)).await;
    let config = ConsumerConfig::builder()
        .smartmodule(vec![ad_hoc(&wasm::identity())])
        .max_bytes(1000)
        .build()
        .unwrap();
    let mut stream = fixture.stream("t", 0, Offset::beginning(), config).await;
    let first = tokio::spawn(async move { next(&mut stream).await.unwrap() });
    while !first.is_finished() {
        send(&producer, &numbered("marker", 1)).await;
        tokio::task::yield_now().await;
    }
    let first = first.await.unwrap();
    assert!(first.get_base_offset() >= 2);
    assert_eq!(values(&first)[0], "marker-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_batch_that_does_not_fit_comes_with_the_next_response() {
    let fixture = Fixture::with_topic("t", 1).await;
    let producer = fixture.producer("t", 0).await;
    for letter in ["a", "b", "c"] {
        send(&producer, &[letter.repeat(600)]).await;
    }
    let config = ConsumerConfig::builder()
        .smartmodule(vec![ad_hoc(&wasm::identity())])
        .max_bytes(1000)
        .build()
        .unwrap();
    let mut stream = fixture.stream("t", 0, Offset::beginning(), config).await;
    for (offset, letter) in (0..).zip(["a", "b", "c"]) {
        let batch = next(&mut stream).await.unwrap();
        assert_eq!(batch.get_base_offset(), offset);
        assert_eq!(values(&batch), [letter.repeat(600)]);
    }
}
