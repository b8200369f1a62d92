use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// The entries of an object according to the scanner.
fn scanned(json: &str) -> Option<Vec<(String, String)>> {
    let arena = Arena::new();
    let mut scanner = Scanner::new(json);
    let mut found = Vec::new();
    let read = scanner.object(&arena, |scanner, key| {
        found.push((key.to_owned(), scanner.value()?.get().to_owned()));
        Ok(())
    });
    read.and_then(|()| scanner.end()).ok().map(|()| found)
}

/// The entries of an object according to `serde_json`.
fn expected(json: &str) -> Option<Vec<(String, String)>> {
    struct Entries(Vec<(String, String)>);
    impl<'de> serde::Deserialize<'de> for Entries {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Entries(Vec::new()))
        }
    }
    impl<'de> serde::de::Visitor<'de> for Entries {
        type Value = Self;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
            while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                self.0.push((key, value.get().to_owned()));
            }
            Ok(self)
        }
    }
    let entries: Entries = serde_json::from_str(json).ok()?;
    Some(entries.0)
}

#[test]
fn valid_and_invalid_json() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    for json in [
        "{}",
        " {\t}\r\n",
        r#"{"a":1}"#,
        r#"{ "a" : [ 1 , { "b" : [ ] , "c" : { } } ] , "a" : -0.5e+10 }"#,
        r#"{"":"","\u00e9\n":"\ud83d\ude00\\"}"#,
        r#"{"a":true,"b":false,"c":null}"#,
        r#"{"é":"é","long key of many bytes":"long text of many, many bytes \" and more"}"#,
        &deep,
    ] {
        assert!(scanned(json).is_some(), "{json}");
        assert_eq!(scanned(json), expected(json), "{json}");
    }
    for json in [
        "",
        "{",
        "}",
        "[]",
        "null",
        "{}{}",
        "{} x",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1 "b":2}"#,
        r#"{a:1}"#,
        r#"{'a':1}"#,
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":+1}"#,
        r#"{"a":-}"#,
        r#"{"a":1e}"#,
        r#"{"a":1e+}"#,
        r#"{"a":tru}"#,
        r#"{"a":nul}"#,
        r#"{"a":"}"#,
        r#"{"a":"\"}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        r#"{"a":"\u12"#,
        r#"{"a":[1,]}"#,
        r#"{"a":[1}"#,
        r#"{"a":{]}}"#,
        r#"{"a":[[]}"#,
        r#"{"a":{"b":1]}"#,
        r#"{"a":[,1]}"#,
        r#"{"a":{"b"}}"#,
        r#"{"a":NaN}"#,
        "{\"a\":\"\t\"}",
        "{\u{a0}}",
        r#"{"\ud800":1}"#,
    ] {
        assert_eq!(scanned(json), None, "{json}");
        assert_eq!(expected(json), None, "{json}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_text_of_json_tokens(text in r#"[{}\[\]",:\\ \n\tau0-9.eE+\-truefalsnl]{0,24}"#) {
        for json in [text.clone(), format!("{{\"a\":{text}}}"), format!("{{\"{text}\":1}}")] {
            prop_assert_eq!(scanned(&json), expected(&json), "{}", json);
        }
    }

    #[test]
    fn json_cut_or_changed_anywhere(
        at in 0..200_usize,
        sign in "[{}\\[\\]\",:\\\\0-9 ]",
        cut in any::<bool>(),
    ) {
        let json = concat!(
            r#"{"event_id":"e","a":[1,-2.5E+3,{"b":"\u00e9 \" and a long text"},[],{}],"#,
            r#""c":{"d":true,"e":null},"é":"x"}"#
        );
        let at = at % json.len();
        let Some((before, after)) = json.split_at_checked(at) else { return Ok(()) };
        let json = if cut {
            before.to_owned()
        } else {
            format!("{before}{sign}{}", after.get(1..).unwrap_or_default())
        };
        prop_assert_eq!(scanned(&json), expected(&json), "{}", json);
    }
}
