//! The generated messages of a shop's queue, checked by a program in Python.

use std::time::Duration;

use end_to_end::pipeline::Pipeline;
use end_to_end::pypi;
use end_to_end::queue_check::QueueCheck;
use local_stack::{Part, StackOptions};

/// Messages that `etl generate` does not make: a refund, a duplicate item, short items without
/// spaces, an unknown field, params with several values or none, milliseconds, an array.
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
async fn the_tables_equal_the_messages_after_kills_of_every_part() {
    let python = pypi::program("python");
    let rare = RARE.map(str::to_owned);
    let check = QueueCheck::of(5_000, &rare, &python).await.unwrap();

    let options = StackOptions {
        visibility_timeout: Some(Duration::from_secs(5)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    let victims = [Part::Sink, Part::Node, Part::Source];
    // One message in sixteen is late and opens its hour again, which is stored by then.
    let places = check.bodies.iter().enumerate();
    let (late, timely): (Vec<_>, Vec<_>) = places.partition(|(place, _)| place.is_multiple_of(16));
    let arriving = timely.into_iter().chain(late);
    let arriving: Vec<String> = arriving.map(|(_, body)| body.clone()).collect();
    pipeline
        .send_among_kills(&arriving, &victims)
        .await
        .unwrap();
    pipeline.arrived().await.unwrap();
    check.ensure_equal(&pipeline).await.unwrap();

    // The checker finds a single wrong value.
    let tables = &pipeline.database;
    let refund = "UPDATE fact_events SET item_refund = item_refund + 1 WHERE event_name = 'refund'";
    tables.batch_execute(refund).await.unwrap();
    let output = check.ensure_equal(&pipeline).await.unwrap_err().to_string();
    assert!(
        output.contains("item_refund is Decimal('23.5')"),
        "{output}"
    );
    pipeline.stack.stop().await.unwrap();
}
