//! Every format of an event, through the whole pipeline: the samples of the fuzzers.

use std::path::Path;

use end_to_end::pipeline::Pipeline;
use local_stack::StackOptions;

/// The samples with the same event, which has an id.
const ONE_EVENT: [&str; 8] = [
    "array",
    "base64",
    "documents",
    "event",
    "event-spaces",
    "eventbridge",
    "sns",
    "string",
];

/// The other samples with events.
const OTHERS: [&str; 12] = [
    "android",
    "bigquery",
    "data-layer",
    "data-layer-click",
    "ios",
    "items-string",
    "measurement-protocol",
    "params",
    "queue",
    "rows",
    "ua-hit",
    "web-hit",
];

/// Event, product, list, list position, price, quantity, currency, value and order of each fact,
/// written by hand from the samples. Events without a time are marked.
const FACTS: &str = "
a ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ from documents
add_to_cart SKU_12345/Stan and Friends Tee related_products/Related products 5 10.01 3 USD 30.03 \
T1 without time
purchase 26392/Klassikerlåda ∅ ∅ ∅ ∅ EUR 37.39 T12345 without time
purchase 7/café \"x\" ∅ 1 9.9 2 EUR 1234.56 ∅
purchase b ∅ ∅ ∅ ∅ EUR 1234.56 ∅
purchase sku123/T-Shirt ∅ ∅ 19.99 ∅ USD ∅ ∅ without time
purchase sku456/Jeans ∅ ∅ 49.99 ∅ USD ∅ ∅ without time
purchase ∅ ∅ ∅ ∅ ∅ USD 9.9 ∅ from params
select_item 12345/Triblend Android T-Shirt ∅/Search Results 1 15.25 ∅ ∅ ∅ ∅ without time
session_start 9195912/Womens Google Striped LS ∅/Not available in demo dataset ∅ 16 1 ∅ ∅ ∅
view_item A1/Taza, roja ∅ ∅ 12.5 ∅ ∅ ∅ ∅ from rows
view_item prod_01JAAAAAAAAAAAAAAAAAAAAAA1/Reloj Inteligente Faro ∅ ∅ 899 1 ∅ ∅ ∅ from queue
view_item 123456789 ∅ ∅ ∅ ∅ UAH 450 ∅ without time
view_item ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ from array
view_item_list 12345/Triblend Android T-Shirt ∅/Search Results 1 15.25 ∅ EUR ∅ ∅ without time
view_item_list 7/café \"x\" ∅ 1 9.9 2 ∅ ∅ ∅ from items-string
view_item_list SKU_12345/Stan and Friends Tee related_products/Related Products 0 9.99 1 ∅ ∅ ∅
view_item_list b ∅ ∅ ∅ ∅ ∅ ∅ ∅ from items-string
view_item_list foo ∅/popular ∅ ∅ ∅ EUR ∅ ∅ without time
view_item_list hello ∅/recos ∅ ∅ ∅ EUR ∅ ∅ without time
view_item_list world ∅/recos ∅ ∅ ∅ EUR ∅ ∅ without time
";

/// The same columns of the tables.
const QUERY: &str = "
    SELECT concat_ws(' ', event_name,
                     concat_ws('/', coalesce(product_id, '∅'), product_name),
                     CASE WHEN list_id IS NULL AND list_name IS NULL THEN '∅' ELSE concat_ws('/', \
                     coalesce(list_id, '∅'), list_name) END,
                     coalesce(list_position::text, '∅'), coalesce(trim_scale(price)::text, '∅'), \
                     coalesce(trim_scale(quantity)::text, '∅'),
                     coalesce(currency, '∅'), coalesce(trim_scale(value)::text, '∅'), \
                     coalesce(transaction_id, '∅'),
                     CASE WHEN event_time > now() - interval '1 hour' THEN 'without time' END)
    FROM product_interactions";

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../smartmodules/fuzz/corpus/body");
    std::fs::read_to_string(path.join(name)).expect(name)
}

/// A line of `FACTS` without its comment.
fn fact(line: &str) -> String {
    let end = line.find(" from ").unwrap_or(line.len());
    line.get(..end).unwrap_or(line).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_becomes_its_facts() {
    let missing_time = ("missing-time".to_owned(), "record".to_owned());
    let options = StackOptions {
        parameters: vec![missing_time],
        ..StackOptions::default()
    };
    let mut pipeline = Pipeline::start(options).await.unwrap();
    let bodies: Vec<String> = ONE_EVENT.into_iter().chain(OTHERS).map(sample).collect();
    pipeline.send(&bodies).await.unwrap();
    pipeline.send(&[sample("s3-pointer")]).await.unwrap();
    pipeline.arrived().await.unwrap();

    let rows = pipeline.database.query(QUERY, &[]).await.unwrap();
    let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    found.sort();
    let mut expected: Vec<String> = FACTS.trim().lines().map(fact).collect();
    expected.sort();
    assert_eq!(found, expected);

    let rows = pipeline
        .database
        .query("SELECT reason FROM rejected_events ORDER BY 1", &[])
        .await
        .unwrap();
    let reasons: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        reasons,
        ["missing-name", "s3-pointer"],
        "the empty object in the array, and the pointer"
    );
    pipeline.stack.stop().await.unwrap();
}
