//! Rows as Java prints them, in a body's `items` and as a whole body. `queue.rs` tests the queue's
//! samples.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use fact_model::{Envelope, flatten};
use serde_json::{Value, json};

fn event(items: &str) -> Envelope<'static> {
    flatten(
        json!({"event_name": "e", "ts": 1_795_382_400, "items": items})
            .to_string()
            .as_bytes(),
    )
}

/// The facts without the event's own columns and without `item_ordinal`.
fn facts(envelope: &Envelope<'_>) -> Vec<Value> {
    assert_eq!(envelope.rejected, []);
    let Value::Array(mut facts) = serde_json::to_value(&envelope.facts).unwrap() else {
        panic!("facts are a list");
    };
    for fact in &mut facts {
        let fact = fact.as_object_mut().unwrap();
        for key in ["event_name", "event_time", "fact_hash", "item_ordinal"] {
            fact.remove(key).unwrap();
        }
    }
    facts
}

#[track_caller]
fn assert_items(items: &str, expected: Value) {
    let envelope = event(items);
    assert_eq!(Value::Array(facts(&envelope)), expected, "{items}");
}

/// The detail of the items' rejection.
#[track_caller]
fn refusal(items: &str) -> String {
    let envelope = event(items);
    assert_eq!(envelope.facts, [], "{items}");
    let [rejection] = envelope.rejected.as_slice() else {
        panic!("{items}: {envelope:?}");
    };
    assert_eq!(
        (&*rejection.reason, &*rejection.at),
        ("bad-items", "$.items")
    );
    let detail = rejection.detail.strip_prefix("items can't be read: ");
    detail.expect("the detail names the items").to_owned()
}

#[test]
fn a_text_ends_only_before_a_known_name_or_where_all_that_follows_fits() {
    for name in [
        "Sartén, 24 cm (con tapa)",
        "a, b=c, d=e",
        "a=b=c",
        "=",
        "]",
        "}",
        "}]",
        "[{",
        "{",
        "a}, {b",
        "a}, {b=c}",
        "]}], [{x=1}]",
        "(not set) yet",
        "null and void",
        "nullable",
        "1984, autor=Orwell",
        "12.5, color=rojo",
        "\"quoted\", 'it''s' \\n",
        "two\nlines, three\r\n",
        "item_brand=x",
        "x:item_brand=y, z",
        "Item_Brand, ITEM_BRAND=",
        "🎧, 日本語=語",
        "null",
        "prix 9€, price",
        "{item}",
    ] {
        let items = format!(
            "[{{item_id=1, item_name={name}, item_brand=B}}, {{item_id=2, item_name={name}, \
             price=3.0}}]"
        );
        let name = (name != "null").then(|| name.trim());
        let mut first = json!({"product_id": "1", "product_brand": "B"});
        let mut second = json!({"product_id": "2", "price": "3"});
        if let Some(name) = name {
            first["product_name"] = json!(name);
            second["product_name"] = json!(name);
        }
        assert_items(&items, json!([first, second]));
    }
    // As the last field of a row, with brackets that are pairs.
    for name in ["Taza", "a {b} [c]", "a, b=c", "", "x}, {y=z"] {
        let name = name.replace("x}, {y=z", "x {}, {y=z}");
        let expected = if name.is_empty() {
            json!([{"product_id": "1"}, {"product_id": "2"}])
        } else {
            json!([{"product_id": "1", "product_name": name}, {"product_id": "2",
                "product_name": name}])
        };
        for separator in [",", ", ", " , "] {
            assert_items(
                &format!(
                    "[{{item_id=1, item_name={name}}}{separator}{{item_id=2,item_name={name}}}]"
                ),
                expected.clone(),
            );
        }
    }
}

#[test]
fn an_unknown_name_is_a_field_where_no_text_can_go_on() {
    for before in [
        "price=12.5",
        "item_brand=null",
        "item_brand=(not set)",
        "item_brand=",
        "item_params=[]",
        "price=3, weight=1.2E-4",
        "price=3, box={w=1, h=2}",
        "item_list_id=L1",
    ] {
        let envelope = event(&format!(
            "[{{item_id=1, {before}, color=rojo, oscuro, item_name=Taza}}]"
        ));
        let fact = &facts(&envelope)[0];
        assert_eq!(fact["product_name"], "Taza", "{before}");
        assert_eq!(fact["extra"]["item"]["color"], "rojo, oscuro", "{before}");
    }
    assert_items(
        "[{item_id=007, autor=Orwell, año=1948, item_name=1984, autor=Orwell, price=3}]",
        json!([{"product_id": "007", "product_name": "1984, autor=Orwell", "price": "3",
                "extra": {"item": {"autor": "Orwell, año=1948"}}}]),
    );
    assert_items(
        "[{item_id=1, price=3, color=(not set), size=, weight=null, item_name=(not set)}]",
        json!([{"product_id": "1", "price": "3"}]),
    );
    // The text of an unknown field continues to the next known name.
    assert_items(
        "[{item_id=1, price=3, color=rojo, talla=XL, quantity=2}]",
        json!([{"product_id": "1", "price": "3", "quantity": "2",
            "extra": {"item": {"color": "rojo, talla=XL"}}}]),
    );
}

#[test]
fn rows_of_other_producers() {
    assert_items(
        "[{name=Taza, id=A1, price=12.5, color=rojo, sizes=[S, M], box={w=1, tags=[]}}, {id=B1}]",
        json!([
            {"product_id": "A1", "product_name": "Taza", "price": "12.5",
             "extra": {"item": {"color": "rojo", "sizes": "[S, M]", "box": {"w": "1",
             "tags": []}}}},
            {"product_id": "B1"},
        ]),
    );
    assert_items(
        "{item_id=A1,quantity=2}",
        json!([{"product_id": "A1", "quantity": "2"}]),
    );
    assert_items(
        "[ { item_id=A1 } ,\n  { item_id=B1 } ]\n",
        json!([{"product_id": "A1"}, {"product_id": "B1"}]),
    );
    assert_items(
        "[null, {item_id=A1}, null, {item_id=B1}, null]",
        json!([{"product_id": "A1"}, {"product_id": "B1"}]),
    );
    assert_items("[null]", json!([{}]));
    assert_items("[{}, {item_id=B1}]", json!([{}, {"product_id": "B1"}]));
    assert_items(
        "[{item_id=A1, price=1.2345678E7, quantity=-2, index=3.0, item_refund=9.9E-4, \
         item_refund_in_usd=Infinity}]",
        json!([{"product_id": "A1", "price": "12345678", "quantity": "-2", "list_position": 3,
            "item_refund": "0.00099",
            "extra": {"item": {"item_refund_in_usd": "Infinity"}}}]),
    );
}

#[test]
fn parameters_keep_their_types() {
    let value = |values: &str| format!("{{key=k, value={{{values}}}}}");
    for (param, expected) in [
        (
            value("string_value=007, int_value=null, float_value=null, double_value=null"),
            json!({"k": "007"}),
        ),
        (
            value("string_value=null, int_value=7, float_value=null, double_value=8.5"),
            json!({"k": 7}),
        ),
        (
            value("string_value=, int_value=null, float_value=1.5, double_value=null"),
            json!({"k": 1.5}),
        ),
        (
            value("double_value=12.0, int_value=null, string_value=a, b=c} d"),
            json!({"k": "a, b=c} d"}),
        ),
        (
            value("string_value=$1,249.92, int_value=null"),
            json!({"k": "$1,249.92"}),
        ),
        (
            value("string_value=null, int_value=null, float_value=null, double_value=NaN"),
            json!({}),
        ),
        (
            "{key=k, int_value=5, string_value=null}".to_owned(),
            json!({"k": 5}),
        ),
        ("{key=k, value=5}".to_owned(), json!({"k": "5"})),
        (
            "{value={int_value=5, string_value=null}, key=a, b}".to_owned(),
            json!({"a, b": 5}),
        ),
        (
            "{key=k, value={string_value=a, int_value=null}}, {key=k, value={string_value=b, \
             int_value=null}}"
                .to_owned(),
            json!({"k": "a"}),
        ),
    ] {
        // Braces that are no pair fit where a known name follows.
        let param = param.replace(
            "string_value=a, b=c} d}",
            "string_value=a, b=c} d, float_value=null}",
        );
        let envelope = event(&format!(
            "[{{item_id=1, item_params=[{param}]}}, {{item_id=2}}]"
        ));
        let mut fact = json!({"product_id": "1"});
        if expected != json!({}) {
            fact["extra"] = json!({"item": expected});
        }
        assert_eq!(
            facts(&envelope),
            [fact, json!({"product_id": "2"})],
            "{param}"
        );
    }
    // Only the names of the same row end a text; a value without a type keeps the list.
    for text in ["hola, key=b", "hola, value=9", "hola, otra=5"] {
        let item = format!(
            "[{{item_id=1, item_params=[{}]}}]",
            value(&format!("string_value={text}, int_value=null"))
        );
        assert_items(
            &item,
            json!([{"product_id": "1", "extra": {"item": {"k": text}}}]),
        );
    }
    assert_items(
        "[{item_id=1, item_params=[{key=k, value={int_value=1, otra=5}}]}]",
        json!([{"product_id": "1", "extra": {"item": {"k": 1, "item_params": [{"key": "k",
            "value": 1, "otra": "5"}]}}}]),
    );
    // A parameter never replaces a column; if the item has its key too, the list is kept whole.
    assert_items(
        "[{item_id=1, price=5, color=blue, item_params=[{key=price, value={int_value=9}}, \
         {key=color, value={string_value=red}}]}]",
        json!([{"product_id": "1", "price": "5", "extra": {"item": {
            "color": "blue", "price": 9,
            "item_params": [{"key": "price", "value": 9}, {"key": "color", "value": "red"}],
        }}}]),
    );
}

#[test]
fn incomplete_rows_are_refused_with_a_location() {
    for (items, expected) in [
        (
            "[{item_id=1, item_name=Taza",
            "the value of `item_name` is cut off at line 1 column 28",
        ),
        (
            "[{item_id=1, price=3}",
            "the list does not continue with `,` or end with `]` at line 1 column 22",
        ),
        (
            "[{item_id=1, price=3]",
            "the value of `price` is cut off at line 1 column 22",
        ),
        (
            "[{item_id=1, price=3}]]",
            "text after the end of the rows at line 1 column 23",
        ),
        (
            "[{item_id=1, price=3}}]",
            "the list does not continue with `,` or end with `]` at line 1 column 22",
        ),
        (
            "[{item_id=1, item_name=Taza}}]",
            "a closing bracket has no opening one at line 1 column 28",
        ),
        (
            "[{item_id=1, item_name={Taza}]",
            "an opening bracket has no closing one at line 1 column 24",
        ),
        (
            "[{item_id=1, item_name=Taza, {item_brand=B, price=1}]",
            "a row starts within the value of `item_name` at line 1 column 30",
        ),
        (
            "[{item_id=1, item_name=a, price=1, item_brand=B, price=2}]",
            "`price` is repeated in a row: one of them may belong to a text at line 1 column 50",
        ),
        (
            "[{item_id=1,\nitem_name=Taza}",
            "the value of `item_name` is cut off at line 2 column 16",
        ),
        (
            "[{item_id=1}, 7]",
            "expected a row, `{…}`, or null at line 1 column 15",
        ),
        (
            "[{item_id=1, item_params=[{key=a, value={int_value=1}]}]",
            "the row does not continue with `,` or end with `}` at line 1 column 54",
        ),
    ] {
        assert_eq!(refusal(items), expected, "{items}");
    }
}

const WHOLE: &str = "[{item_id=A1, item_name=Taza, roja, item_brand=(not set), price=12.5, \
     item_params=[{key=in_stock, value={string_value=null, int_value=1, float_value=null, \
     double_value=null}}, {key=discounts, value={string_value=A|B, int_value=null, \
     float_value=null, double_value=null}}]}, {item_id=B1, item_name=Plato}, {item_id=C1, \
     item_list_name=Hogar, price=1}]";

#[test]
fn no_part_of_a_text_that_was_cut_off_becomes_a_fact() {
    assert_eq!(event(WHOLE).facts.len(), 3);
    for end in 1..WHOLE.len() {
        refusal_of_any_kind(&WHOLE[..end]);
    }
}

#[test]
fn one_bracket_too_many_or_too_few_is_refused() {
    for (at, bracket) in WHOLE.match_indices(['[', ']', '{', '}']) {
        let (before, after) = WHOLE.split_at(at);
        refusal_of_any_kind(&format!("{before}{bracket}{after}"));
        refusal_of_any_kind(&format!("{before}{}", &after[1..]));
    }
}

#[test]
fn a_bracket_behind_an_id_or_a_number_is_refused() {
    for code in [
        "item_id=A1",
        "price=12.5",
        "item_id=B1",
        "item_id=C1",
        "price=1",
    ] {
        for bracket in ["[", "]"] {
            refusal_of_any_kind(&WHOLE.replacen(code, &format!("{code}{bracket}"), 1));
        }
    }
    refusal_of_any_kind("[{item_id=1, price=3, tags=[a, b, item_brand=B}]");
}

#[track_caller]
fn refusal_of_any_kind(items: &str) {
    let envelope = event(items);
    assert_eq!(envelope.facts, [], "{items}");
    assert_eq!(envelope.rejected.len(), 1, "{items}");
}

#[test]
fn a_whole_body_of_rows() {
    let row = "{event_timestamp=1762101113131045, user_id=u 1=2, event_name=purchase, \
    platform=ios, \
               campaign=verano, 2026, source=google, country=Corea, República de, \
               traffic_source={medium=(none), name=(direct), source=(direct)}, \
               items=[{item_id=A1, item_name=Taza, roja, price=12.5}, {item_id=B1}], \
               currency=MXN, value=25.0, \
               event_params=[{key=ga_session_id, value={string_value=null, int_value=7}}, \
               {key=tipo, value={string_value=x, y, int_value=null}}], \
               device={category=mobile, language=es-mx}, \
               replay_timestamp=2026-02-03T10:11:12.345678Z}";
    let json = json!({
        "event_timestamp": "1762101113131045", "user_id": "u 1=2", "event_name": "purchase",
        "platform": "ios",
        "campaign": "verano, 2026", "source": "google", "country": "Corea, República de",
        "traffic_source": {"medium": "(none)", "name": "(direct)", "source": "(direct)"},
        "items": [{"item_id": "A1", "item_name": "Taza, roja", "price": "12.5"}, {"item_id": "B1"}],
        "currency": "MXN", "value": "25.0", "params": {"ga_session_id": "7", "tipo": "x, y"},
        "device": {"category": "mobile", "language": "es-mx"},
        "replay_timestamp": "2026-02-03T10:11:12.345678Z",
    });
    let expected = flatten(json.to_string().as_bytes());
    assert_eq!(flatten(row.as_bytes()), expected);
    let twice = flatten(format!("[{row}, {row}]").as_bytes());
    assert_eq!((twice.facts.len(), twice.rejected.len()), (4, 0));
    assert_eq!(twice.facts[..2], expected.facts);
    assert_eq!(twice.facts[2].product_id, expected.facts[0].product_id);

    // Several names for the same property are separate fields, as in JSON.
    let names = "{event_name=a, event=b, event_timestamp=1762101113131045, timestamp=5, \
    client_id=c, \
         user_pseudo_id=d}";
    let json = concat!(
        r#"{"event_name":"a","event":"b","event_timestamp":"1762101113131045","#,
        r#""timestamp":"5","client_id":"c","user_pseudo_id":"d"}"#
    );
    assert_eq!(flatten(names.as_bytes()), flatten(json.as_bytes()));

    let cut = flatten(&row.as_bytes()[..200]);
    assert_eq!(cut.facts, []);
    assert_eq!(cut.rejected[0].reason, "malformed");
    assert_eq!(
        cut.rejected[0].detail,
        "the body can't be read: the value of `name` is cut off at line 1 column 201"
    );
}

#[test]
fn older_names_end_texts_where_an_item_has_both_vocabularies() {
    assert_items(
        "[{id=sku1, name=Taza, price=5, item_list_name=Home}]",
        json!([{"product_id": "sku1", "product_name": "Taza", "price": "5", "list_name": "Home"}]),
    );
    assert_items(
        "[{item_id=a}, {id=b, name=Taza, roja, price=3}]",
        json!([{"product_id": "a"}, {"product_id": "b", "product_name": "Taza, roja",
            "price": "3"}]),
    );
    assert_items(
        "[{item_id=a, name=Taza, brand=x, category=Hogar, position=3}]",
        json!([{"product_id": "a", "product_name": "Taza", "product_brand": "x",
            "product_category": "Hogar", "list_position": 3}]),
    );
    // They end no text of other fields.
    assert_items(
        "[{item_id=a, item_name=Taza, name=x, item_brand=B}]",
        json!([{"product_id": "a", "product_name": "Taza, name=x", "product_brand": "B"}]),
    );
}

#[test]
fn dictionaries_of_ios_are_no_rows() {
    let both = json!([{"product_id": "x", "product_name": "y"}]);
    for items in [
        "{item_id=x;item_name=y}",
        "{item_id=x;item_name=y;}",
        "{item_id=x;\r\n  item_name=y;\r\n}",
        "{\n\titem_id=x;\n\titem_name=y;\n\t}\n",
        "({item_id=x; item_name=\"y\";})",
        "[{item_id=\"x\";item_name=y;}]",
    ] {
        assert_items(items, both.clone());
    }
    // A text of rows may end with a semicolon, or have one.
    assert_items(
        "[{item_id=x, item_name=y;}]",
        json!([{"product_id": "x", "product_name": "y;"}]),
    );
    assert_items(
        "[{item_name=y; 2x1, item_id=x}]",
        json!([{"product_id": "x", "product_name": "y; 2x1"}]),
    );
    let body = "{event_name=v; event_timestamp=1762101113131045; items=({item_id=x;})}";
    assert_eq!(
        flatten(body.as_bytes()).facts[0].product_id.as_deref(),
        Some("x")
    );
}

#[test]
fn items_are_items_wherever_an_event_has_them() {
    let items = "[{item_id=1, item_name=Sartén, diámetro=24 cm, item_brand=x}]";
    for body in [
        format!(
            "{{event_timestamp=1762101113131045, event_name=view_item, params={{items={items}}}}}"
        ),
        format!(
            "{{event_timestamp=1762101113131045, event_name=view_item, \
             ecommerce={{items={items}}}}}"
        ),
        format!(
            "{{event_timestamp=1762101113131045, event_name=view_item, \
             event_params={{value=1, items={items}}}}}"
        ),
        format!("{{name=view_item, timestamp=1762101113131045, items={items}}}"),
        format!(
            "{{client_id=c, timestamp_micros=1762101113131045, events=[{{name=view_item, \
             params={{items={items}}}}}]}}"
        ),
    ] {
        let envelope = flatten(body.as_bytes());
        assert_eq!(envelope.rejected, [], "{body}");
        let name = envelope.facts[0].product_name.as_deref();
        assert_eq!(name, Some("Sartén, diámetro=24 cm"), "{body}");
    }
}

#[test]
fn a_list_of_texts_may_have_some_that_are_nothing() {
    let items = json!(["(not set)", "{item_id=2}", "", "null", null]);
    let event = json!({"event_name": "e", "ts": 1_795_382_400, "items": items});
    let facts = flatten(event.to_string().as_bytes()).facts;
    assert_eq!(facts.len(), 1);
    assert_eq!(facts[0].product_id.as_deref(), Some("2"));
}

#[test]
fn parameters_of_an_event_in_a_text() {
    let expected = flatten(
        br#"{"event_name":"a","ts":1795382400,"params":{"value":9.5,"tipo":"x, y","n":7}}"#,
    );
    for params in [
        "[{key=value, value={string_value=null, double_value=9.5}}, {key=tipo, \
         value={string_value=x, y, int_value=null}}, {key=n, value={int_value=7}}]",
        concat!(
            r#"[{"key":"value","value":{"double_value":9.5}},{"key":"tipo","#,
            r#""value":{"string_value":"x, y"}},{"key":"n","value":{"int_value":"7"}}]"#
        ),
    ] {
        let event = json!({"event_name": "a", "ts": 1_795_382_400, "event_params": params});
        let facts = flatten(event.to_string().as_bytes()).facts;
        assert_eq!(facts, expected.facts, "{params}");
    }
}
