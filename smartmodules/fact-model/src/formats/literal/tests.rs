use super::*;
use crate::text::Arena;

fn json(text: &str) -> Result<String, String> {
    let arena = Arena::new();
    let mut out = JsonText::new(&arena);
    match read(text, &mut out) {
        Ok(()) => Ok(out.finish().to_owned()),
        Err(fault) => Err(fault.sentence(text)),
    }
}

#[test]
fn python_and_javascript_become_the_json_that_they_mean() {
    for (text, expected) in [
        (
            "[{'item_id': 'SKU-88', 'quantity': 1, 'category': None}]",
            r#"[[{"item_id":"SKU-88","quantity":1,"category":null}]]"#,
        ),
        (
            r#"{'a': "it's", "b": 'say "x"',}"#,
            r#"[{"a":"it's","b":"say \"x\""}]"#,
        ),
        (
            "(True, False, nan, -inf, 1.50, 5., -.5, 1e3)",
            "[[true,false,null,null,1.50,5,-0.5,1e3]]",
        ),
        (
            "{'p': Decimal('2.414'), 'q': Decimal('NaN')}",
            r#"[{"p":2.414,"q":null}]"#,
        ),
        (
            "{'t': datetime.datetime(2024, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)}",
            r#"[{"t":"2024-01-02T03:04:00.000000+00:00"}]"#,
        ),
        (
            "datetime.datetime(2024, 1, 2, 3, 4, 5, 678, \
             tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=64800)))",
            r#"["2024-01-02T03:04:05.000678-06:00"]"#,
        ),
        (
            "datetime.datetime(2024, 1, 2)",
            r#"["2024-01-02T00:00:00.000000"]"#,
        ),
        (
            r"{u'a': u'caf\xe9 \u00e9 \U0001F600 \ud83d\ude00', 'b': b'caf\xc3\xa9'}",
            r#"[{"a":"café é 😀 😀","b":"café"}]"#,
        ),
        (
            "dataLayer.push({ecommerce: null}); // clears\n\
             window.dataLayer.push({\n event: 'purchase', /* x */ value: 9.90, });",
            r#"[{"ecommerce":null},{"event":"purchase","value":9.90}]"#,
        ),
        (
            "{time: new Date(1795382400000), id: UUID('a-b'), u: undefined, 7: `t`}",
            r#"[{"time":1795382400000,"id":"a-b","u":null,"7":"t"}]"#,
        ),
        ("{a: 007}", r#"[{"a":7}]"#),
        (r"'\ud83d \0 \q \u{e9}'", "[\"\u{fffd}  q é\"]"),
    ] {
        assert_eq!(json(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn errors_have_a_location() {
    for (text, expected) in [
        (
            "{price: productPrice}",
            "`productPrice}` is not a value at line 1 column 9",
        ),
        ("[{'a':\n 'b]", "a string is cut off at line 2 column 2"),
        ("{'a' 1}", "`:` is missing at line 1 column 6"),
        ("[1 2]", "`,` or `]` is missing at line 1 column 4"),
        ("{'a':1", "`,` or `}` is missing at line 1 column 7"),
        (r"'\x1'", "an escape without its digits at line 1 column 3"),
        ("{:1}", "a key is missing at line 1 column 2"),
    ] {
        assert_eq!(json(text).unwrap_err(), expected, "{text}");
    }
    assert!(
        json(&"[".repeat(1000))
            .unwrap_err()
            .contains("more than 64 levels")
    );
    assert!(
        json(&"f(".repeat(1000))
            .unwrap_err()
            .contains("more than 64 levels")
    );
    assert!(json(&"new ".repeat(1000)).is_err());
}
