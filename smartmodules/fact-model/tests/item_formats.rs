//! All formats of `items` in a JSON event.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::slice;

use fact_model::{Rejection, flatten};
use serde_json::{Value, json};

fn event(items: &Value) -> Vec<u8> {
    json!({"event_name": "e", "ts": 1_795_382_400, "items": items})
        .to_string()
        .into_bytes()
}

/// The facts of the items, without the event's own columns.
fn items(items: &Value) -> Vec<Value> {
    let envelope = flatten(&event(items));
    assert_eq!(envelope.rejected, [], "{items}");
    let mut facts: Vec<Value> =
        serde_json::from_str(&serde_json::to_string(&envelope.facts).unwrap()).unwrap();
    for (ordinal, fact) in (1..).zip(&mut facts) {
        let fact = fact.as_object_mut().unwrap();
        assert_eq!(fact.remove("item_ordinal"), Some(json!(ordinal)));
        for key in ["event_name", "event_time", "fact_hash"] {
            fact.remove(key).unwrap();
        }
    }
    facts
}

fn rejection(items: &Value) -> Rejection<'static> {
    let mut envelope = flatten(&event(items));
    assert_eq!(envelope.facts, [], "{items}");
    envelope.rejected.remove(0)
}

#[test]
fn json_in_a_string() {
    let sample = json!(r#"[{"item_id":"SKU-9","item_name":"Widget 9","price":249,"quantity":5}]"#);
    let expected =
        json!({"product_id": "SKU-9", "product_name": "Widget 9", "price": "249", "quantity": "5"});
    assert_eq!(items(&sample), slice::from_ref(&expected));
    let twice = json!(sample.to_string());
    let thrice = json!(twice.to_string());
    assert_eq!(items(&thrice), [expected]);
    assert!(
        rejection(&json!(thrice.to_string()))
            .detail
            .contains("more than 3 nested JSON strings")
    );
}

#[test]
fn android_bundles() {
    let sample = "[Bundle[{item_id=sku123, item_name=String(T-Shirt), price=Double(19.99)}], \
         Bundle[{item_id=sku456, item_name=String(Jeans), price=Double(49.99)}]]";
    let shirt = json!({"product_id": "sku123", "product_name": "T-Shirt", "price": "19.99"});
    let jeans = json!({"product_id": "sku456", "product_name": "Jeans", "price": "49.99"});
    assert_eq!(items(&json!(sample)), [shirt.clone(), jeans.clone()]);
    assert_eq!(
        items(&json!(
            "Bundle[{item_id=sku123, item_name=T-Shirt, price=19.99}]"
        )),
        slice::from_ref(&shirt)
    );
    let each = json!(["Bundle[{item_id=sku123, item_name=T-Shirt, price=19.99}]",
        {"item_id": "sku456", "item_name": "Jeans", "price": 49.99}]);
    assert_eq!(items(&each), [shirt, jeans]);
    for lost in [
        "[Landroid.os.Parcelable;@1a2b",
        "Bundle[mParcelledData.dataSize=512]",
    ] {
        let rejection = rejection(&json!(lost));
        assert_eq!(
            (&*rejection.reason, &*rejection.at),
            ("unrecoverable", "$.items")
        );
    }
}

#[test]
fn ios_arrays_and_dictionaries() {
    let expected = [
        json!({"product_id": "card-1", "price": "1.5"}),
        json!({"product_id": "card-2"}),
    ];
    for sample in [
        "[ { item_id = card-1; price = 1.5; }, { item_id = card-2; } ]",
        "(\n        {\n        \"item_id\" = \"card-1\";\n        price = \"1.5\";\n    \
         },\n        {\n        \"item_id\" = \"card-2\";\n    }\n)",
    ] {
        assert_eq!(items(&json!(sample)), expected, "{sample}");
    }
    assert_eq!(
        items(&json!(
            "(\n        {\n        \"item_id\" = 123456789;\n    }\n)"
        )),
        [json!({"product_id": "123456789"})]
    );
    assert_eq!(
        items(&json!(r#"{ item_name = "Caf\U00e9; rouge"; }"#)),
        [json!({"product_name": "Café; rouge"})]
    );
}

#[test]
fn python_and_javascript() {
    assert_eq!(
        items(&json!(
            "[{'item_id': 'SKU-88', 'quantity': 1, 'category': None}]"
        )),
        [json!({"product_id": "SKU-88", "quantity": "1"})]
    );
    let price = json!({"product_id": "it's", "price": "2.414"});
    for sample in [
        r#"[{'item_id': "it's", 'price': Decimal('2.414'), 'discount': nan}]"#,
        r#"({'item_id': "it's", 'price': 2.4140},)"#,
        r#"[{item_id: "it's", price: "2.414",},]"#,
        r#"{item_id: "it\x27s", price: 2.414}"#,
        r#"{item_id: "it\u0027s", price: 2.414, index: undefined}"#,
    ] {
        assert_eq!(items(&json!(sample)), slice::from_ref(&price), "{sample}");
    }
    let rejection = rejection(&json!("[{'item_id': 'a'}, {'item_id': x}]"));
    assert_eq!(
        (&*rejection.reason, &*rejection.at),
        ("bad-items", "$.items")
    );
    assert_eq!(
        rejection.detail,
        "items can't be read: `x}]` is not a value at line 1 column 32"
    );
}

#[test]
fn parts_of_a_web_hit() {
    let expected = json!({
        "product_id": "SKU~1", "product_name": "Stan and Friends Tee", "product_brand": "Google",
        "product_category": "Apparel", "product_category2": "Adult", "price": "10.01",
        "quantity": "3",
        "list_position": 5, "promotion_id": "p", "promotion_name": "n", "creative_name": "c",
        "creative_slot": "s",
        "extra": {"item": {"size": "XL"}}
    });
    let parts = "idSKU~~1~nmStan and Friends \
         Tee~brGoogle~caApparel~c2Adult~pr10.01~qt3~lp5~pip~pnn~cnc~css~k0size~v0XL";
    assert_eq!(items(&json!(parts)), slice::from_ref(&expected));
    let query = parts.replace(' ', "%20");
    assert_eq!(
        items(&json!(format!("pr1={query}"))),
        slice::from_ref(&expected)
    );
    assert_eq!(
        items(&json!(format!("pr1={query}&pr2=idx&cu=USD"))),
        [expected.clone(), json!({"product_id": "x"})]
    );
    assert_eq!(items(&json!([parts, parts])), [expected.clone(), expected]);
    assert_eq!(
        items(&json!("pr1id=a&pr1nm=b&pr1ca=c/d&pr1ps=2&pr1cc=X")),
        [
            json!({"product_id": "a", "product_name": "b", "product_category": "c",
                "product_category2": "d",
                "list_position": 2, "item_coupon": "X"})
        ]
    );
    assert_eq!(
        items(&json!("il1nm=l&il1pi1id=a")),
        [json!({"product_id": "a", "list_name": "l"})]
    );
}

#[test]
fn the_names_of_older_tags() {
    assert_eq!(
        items(
            &json!([{"id": 7.0, "name": "n", "brand": "b", "category": "c/d/e", "variant": "v",
                "list_name": "l",
                "list_position": "3", "creative": "x"}])
        ),
        [
            json!({"product_id": "7", "product_name": "n", "product_brand": "b",
                "product_category": "c",
                "product_category2": "d", "product_category3": "e", "product_variant": "v",
                "list_name": "l",
                "list_position": 3, "creative_name": "x"})
        ]
    );
    assert_eq!(
        items(
            &json!([{"id": "old", "item_id": "new", "position": "first", "list": "",
                "category": [1]}])
        ),
        [
            json!({"product_id": "new", "extra": {"item": {"category": [1], "id": "old",
                "position": "first"}}})
        ]
    );
}

#[test]
fn amounts_as_people_write_them() {
    for (price, expected) in [
        ("49.99", Some("49.99")),
        ("1.234,56", Some("1234.56")),
        ("1,234.56", Some("1234.56")),
        ("€ 9,99", Some("9.99")),
        ("1 299,50", Some("1299.5")),
        ("1\u{a0}299,50", Some("1299.5")),
        ("9,9", Some("9.9")),
        ("1,234", None),
        ("€ 1.234", None),
        ("about 5", None),
    ] {
        let fact = &items(&json!([{"price": price}]))[0];
        match expected {
            Some(expected) => assert_eq!(*fact, json!({"price": expected}), "{price}"),
            None => assert_eq!(
                *fact,
                json!({"extra": {"item": {"price": price}}}),
                "{price}"
            ),
        }
    }
    assert_eq!(
        items(&json!([{"price": 4200}])),
        [json!({"price": "4200"})],
        "cents are never guessed"
    );
}

#[test]
fn sentinels_are_null_in_every_format() {
    for sample in [
        json!([{"item_id": "a", "item_name": "(not set)", "price": "NaN", "coupon": "",
            "index": "undefined", "affiliation": "null"}]),
        json!(
            "Bundle[{item_id=a, item_name=(not set), price=NaN, coupon=, index=undefined, \
             affiliation=null}]"
        ),
        json!(
            "{ item_id = a; item_name = \"(not set)\"; price = NaN; coupon = \"\"; affiliation \
             = \"<null>\"; index = <null>; }"
        )
        .as_str()
        .unwrap()
        .replace("\"<null>\"", "null")
        .into(),
        json!("ida~nm(not set)~prNaN~cp~lpundefined~afnull"),
        json!(
            "{'item_id': 'a', 'item_name': '(not set)', 'price': nan, 'coupon': '', \
             'affiliation': None}"
        ),
    ] {
        assert_eq!(items(&sample), [json!({"product_id": "a"})], "{sample}");
    }
}

#[test]
fn invalid_lists_of_items_are_refused() {
    for (sample, reason) in [
        (json!("five shirts"), "bad-items"),
        (json!("[{'a': 1"), "bad-items"),
        (json!("[1, 2]"), "bad-items"),
        (json!(["five shirts"]), "bad-items"),
        (json!([["a"]]), "bad-items"),
        (json!("Bundle[{a=1"), "bad-items"),
        (json!("a=1&b=2"), "bad-items"),
        (json!(true), "bad-items"),
    ] {
        assert_eq!(rejection(&sample).reason, reason, "{sample}");
    }
    assert_eq!(
        rejection(&json!([{"item_id": "a"}, "five shirts"])).at,
        "$.items[1]"
    );
}

#[test]
fn lists_of_swift_and_numpy() {
    let expected = [
        json!({"product_id": "A1", "product_name": "Caf\u{e9}", "price": "9.99",
            "extra": {"item": {"tags": ["x"], "more": {}}}}),
        json!({"product_id": "B1"}),
    ];
    let swift = [
        r#"[["item_id": "A1", "item_name": "Caf\u{e9}", "price": 9.99, "tags": ["x"], "#,
        r#"[[AnyHashable("item_id"): Optional("A1"), "item_name": "Caf\u{e9}", "coupon": nil, "#,
    ];
    let python = "{'item_id': 'A1', 'item_name': 'Café', 'tags': ['x'], 'more': {}, 'price': ";
    for text in [
        format!(r#"{}"more": [:]], ["item_id": "B1"]]"#, swift[0]),
        format!(
            r#"{}"price": 9.99, "tags": ["x"], "more": [:]], ["item_id": "B1"]]"#,
            swift[1]
        ),
        format!("[{python}np.float64(9.99)}}\n {{'item_id': np.str_('B1')}}]"),
        format!("array([{python}9.99}},\n       {{'item_id': 'B1'}}], dtype=object)"),
    ] {
        assert_eq!(items(&json!(text)), expected, "{text}");
    }
}

#[test]
fn lists_of_dart_are_named() {
    for text in [
        "[{item_id: A1, item_name: Red shirt, price: 9.99}]",
        "{item_id: 123, item_name: Bob's shirt}",
    ] {
        let rejection = rejection(&json!(text));
        assert_eq!(rejection.reason, "bad-items");
        assert!(
            rejection.detail.contains("as Dart prints it"),
            "{}",
            rejection.detail
        );
    }
}
