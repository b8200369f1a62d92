//! The made-up messages of a shop's queue, and what a program in Python computes from them alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod pypi;

use std::time::Duration;

use end_to_end::pipeline::Pipeline;
use end_to_end::queue_check::QueueCheck;
use local_stack::{Part, StackOptions};

/// Messages that the apps of a demo don't send: a refund, the same item twice, short items without spaces, a
/// field that nobody knows, params with several values or none, milliseconds, an array.
const RARE: [&str; 7] = [
    r#"{"event_timestamp":1762100000000001,"user_id":"u","event_name":"refund","platform":"ANDROID","items":"[{item_id=A, price_in_usd=1.5, price=27.0, quantity=2, item_revenue_in_usd=3.0, item_revenue=54.0, item_refund_in_usd=1.25, item_refund=22.5, item_params=[]}]"}"#,
    r#"{"event_timestamp":1762100000000002,"user_id":"u","event_name":"view_item_list","platform":"IOS","items":"[{item_id=A, item_list_name=solo nombre, item_params=[]}, {item_id=A, item_list_name=solo nombre, item_params=[]}]"}"#,
    r#"{"event_timestamp":1762100000000003,"user_id":"u","event_name":"view_item_list","platform":"ios","items":"[{price=12.5,item_id=B,item_name=Taza, azul,item_params=[{key=in_stock,value={string_value=null,int_value=1,float_value=null,double_value=null}}]},{item_id=C}]"}"#,
    r#"{"event_timestamp":1762100000000004,"user_id":"u","event_name":"view_item","platform":"IOS","items":"[null, {item_id=B, price=12.5, item_color=rojo}]"}"#,
    r#"{"event_timestamp":1762100000000005,"user_id":"u","event_name":"view_item","platform":"IOS","items":"[{item_id=B, price=NaN, item_params=[{key=totalPrice, value={string_value=null, int_value=899, float_value=null, double_value=900.5}}, {key=discountt, value={string_value=null, int_value=null, float_value=1.25, double_value=null}}, {key=discountt, value={string_value=null, int_value=2, float_value=null, double_value=null}}, {key=in_stock, value={string_value=null, int_value=null, float_value=null, double_value=null}}]}]"}"#,
    r#"{"event_timestamp":1762100000006,"user_id":"u","event_name":"view_item","platform":"IOS","items":""}"#,
    r#"{"event_timestamp":1762100000000007,"user_id":"u","event_name":"view_item","platform":"IOS","items":[{"item_id":"D","item_name":"Taza, roja","price":12.5}]}"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_hold_what_the_messages_say_after_kills_of_every_part() {
    let python = pypi::program("python");
    let rare = RARE.map(str::to_owned);
    let check = QueueCheck::of(5_000, &rare, &python).await.unwrap();

    let options = StackOptions {
        visibility_timeout: Some(Duration::from_secs(5)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    let victims = [Part::Sink, Part::Node, Part::Source];
    pipeline
        .send_among_kills(&check.bodies, &victims)
        .await
        .unwrap();
    pipeline.arrived().await.unwrap();
    check.ensure_equal(&pipeline).await.unwrap();

    // The checker sees a single value that is wrong, and says which.
    let tables = &pipeline.database;
    let refund = "UPDATE fact_events SET item_refund = item_refund + 1 WHERE event_name = 'refund'";
    tables.batch_execute(refund).await.unwrap();
    let said = check.ensure_equal(&pipeline).await.unwrap_err().to_string();
    assert!(said.contains("item_refund is Decimal('23.5')"), "{said}");
    pipeline.stack.stop().await.unwrap();
}
