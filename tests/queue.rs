//! The made-up messages of a shop's queue, and what a program in Python computes from the bodies alone.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod pypi;

use std::path::Path;
use std::time::Duration;

use end_to_end::cli;
use end_to_end::pipeline::Pipeline;
use local_stack::{Part, StackOptions};
use tokio::process::Command;

/// What the apps of a demo don't send: a refund, the same item twice, short items without spaces, a field and
/// parameters that nobody knows, params with several values or none, milliseconds, an array.
const RARE: [&str; 7] = [
    r#"{"event_timestamp":1762100000000001,"user_id":"u","event_name":"refund","platform":"ANDROID","items":"[{item_id=A, price_in_usd=1.5, price=27.0, quantity=2, item_revenue_in_usd=3.0, item_revenue=54.0, item_refund_in_usd=1.25, item_refund=22.5, item_params=[]}]"}"#,
    r#"{"event_timestamp":1762100000000002,"user_id":"u","event_name":"view_item_list","platform":"IOS","items":"[{item_id=A, item_list_name=solo nombre, item_params=[]}, {item_id=A, item_list_name=solo nombre, item_params=[]}]"}"#,
    r#"{"event_timestamp":1762100000000003,"user_id":"u","event_name":"view_item_list","platform":"ios","items":"[{price=12.5,item_id=B,item_name=Taza, azul,item_params=[{key=in_stock,value={string_value=null,int_value=1,float_value=null,double_value=null}}]},{item_id=C}]"}"#,
    r#"{"event_timestamp":1762100000000004,"user_id":"u","event_name":"view_item","platform":"IOS","items":"[null, {item_id=B, price=12.5, item_color=rojo}]"}"#,
    r#"{"event_timestamp":1762100000000005,"user_id":"u","event_name":"view_item","platform":"IOS","items":"[{item_id=B, price=NaN, item_params=[{key=totalPrice, value={string_value=null, int_value=899, float_value=null, double_value=900.5}}, {key=discountt, value={string_value=null, int_value=null, float_value=1.25, double_value=null}}, {key=discountt, value={string_value=null, int_value=2, float_value=null, double_value=null}}, {key=in_stock, value={string_value=null, int_value=null, float_value=null, double_value=null}}]}]"}"#,
    r#"{"event_timestamp":1762100000006,"user_id":"u","event_name":"view_item","platform":"IOS","items":""}"#,
    r#"{"event_timestamp":1762100000000007,"user_id":"u","event_name":"view_item","platform":"IOS","items":[{"item_id":"D","item_name":"Taza, roja","price":12.5}]}"#,
];

/// Made-up messages, as `etl generate` prints them.
async fn messages(count: usize) -> Vec<String> {
    let mut command = cli::command().unwrap();
    command.args(["generate", "--seed", "41", "--messages"]);
    let output = command.arg(count.to_string()).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let bodies = String::from_utf8(output.stdout).unwrap();
    let bodies: Vec<String> = bodies.lines().map(str::to_owned).collect();
    assert_eq!(bodies.len(), count);
    bodies
}

/// Exit code and output of the checker.
async fn checked(pipeline: &Pipeline, bodies: &Path) -> (bool, String) {
    let mut command = Command::new(pypi::program("python"));
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("queue_check.py"))
        .arg(bodies)
        .arg(pipeline.stack.database_url())
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_hold_what_the_messages_say_after_kills_of_every_part() {
    let mut bodies = messages(5_000).await;
    bodies.extend(RARE.map(str::to_owned));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("messages.jsonl");
    std::fs::write(&file, bodies.join("\n")).unwrap();

    let options = StackOptions {
        visibility_timeout: Some(Duration::from_secs(5)),
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    let victims = [Part::Sink, Part::Node, Part::Source];
    pipeline.send_among_kills(&bodies, &victims).await.unwrap();
    pipeline.arrived().await.unwrap();
    let (is_equal, said) = checked(&pipeline, &file).await;
    assert!(is_equal, "{said}");

    // The checker sees a single value that is wrong, and says which.
    let tables = &pipeline.database;
    let refund = "UPDATE fact_events SET item_refund = item_refund + 1 WHERE event_name = 'refund'";
    tables.batch_execute(refund).await.unwrap();
    let (is_equal, said) = checked(&pipeline, &file).await;
    assert!(
        !is_equal && said.contains("item_refund is Decimal('23.5')"),
        "{said}"
    );
    pipeline.stack.stop().await.unwrap();
}
