//! Log lines of the Firebase SDKs.
//!
//! Android: `Logging event: origin=app,name=purchase,params=Bundle[{…}]` or `Logging event (FE):
//! purchase, Bundle[{…}]`. iOS: `Logging event: origin, name, params: app, view_item, {…}`.
//! Without the logger's prefix: `view_item, {…}`. The prefix has a time without a year and a time
//! zone, so it isn't used as the event's.
//!
//! iOS logs an event up to three times: `Logging event`, in debug mode `Debug mode is enabled.
//! Marking event as…`, and `Event logged. Event name, event params: …`
//! (<https://github.com/firebase/firebase-ios-sdk/issues/10331>). In one body they count once.

use std::collections::BTreeMap;

use crate::formats::plist::{self, without_short_name};
use crate::formats::{Fault, Rewritten, bundle, is_word};
use crate::text::Arena;
use crate::write::JsonText;

/// Beginnings of the SDKs' lines. The first is in the lines of all SDKs.
const LINES: [&str; 3] = [
    LOGGED,
    "Debug mode is enabled. Marking event",
    "Event logged.",
];
const LOGGED: &str = "Logging event";

/// Returns true if a text is one or more log lines.
pub(crate) fn is_log_line(text: &str) -> bool {
    LINES.iter().any(|line| text.contains(line)) || text.starts_with("Bundle[") || is_short(text)
}

/// Returns true if a text starts with a name and parameters.
fn is_short(text: &str) -> bool {
    let (head, rest) = text.split_once(',').unwrap_or((text, ""));
    let rest = rest.trim_start();
    let name = without_short_name(head);
    !name.is_empty()
        && name.bytes().all(is_word)
        && (rest.starts_with('{') || rest.starts_with("Bundle["))
}

/// Reads the event of each line. Of several kinds of lines about an event, the first counts: a name
/// has as many events as its most frequent kind has lines.
pub(crate) fn read<'a>(text: &str, arena: &'a Arena) -> Result<Vec<Rewritten<'a>>, Fault> {
    let lines = LINES.iter().zip(0..);
    let mut starts: Vec<(usize, usize)> = lines
        .flat_map(|(line, kind)| text.match_indices(line).map(move |(at, _)| (at, kind)))
        .collect();
    starts.sort_unstable();
    if starts.is_empty() {
        starts.push((0, 0));
    }
    let mut events = Vec::new();
    let mut counts: BTreeMap<Option<&str>, [usize; LINES.len()]> = BTreeMap::new();
    for (index, (start, kind)) in starts.iter().enumerate() {
        let next = starts.get(index + 1);
        let lines = text
            .get(*start..next.map_or(text.len(), |(next, _)| *next))
            .unwrap_or_default();
        let fault = |fault: Fault| fault.after(*start);
        let (mut event, name, end) = event(lines, arena).map_err(fault)?;
        // The rest may hold the logger's prefix of the next line.
        let rest = lines.get(end..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        if !line.trim().is_empty() || next.is_none() && !rest.trim().is_empty() {
            return Err(fault(Fault::new(end, "something follows the parameters")));
        }
        if starts.len() > 1 {
            event.at = format!("[{index}]");
        }
        let counts = counts.entry(name).or_default();
        let before = counts.iter().copied().max().unwrap_or_default();
        let is_first = counts.get_mut(*kind).is_none_or(|count| {
            *count += 1;
            *count > before
        });
        if is_first {
            events.push(event);
        }
    }
    Ok(events)
}

/// Reads the first event in `lines` and returns it with its name and the end of its parameters.
fn event<'a, 't>(
    lines: &'t str,
    arena: &'a Arena,
) -> Result<(Rewritten<'a>, Option<&'t str>, usize), Fault> {
    let bundle = lines.find("Bundle[");
    let brace = lines.find('{');
    let is_bundle = bundle.is_some_and(|bundle| brace.is_none_or(|brace| bundle < brace));
    let Some(params) = (if is_bundle { bundle } else { brace }) else {
        return Err(Fault::new(0, "the event has no parameters"));
    };
    let head = lines.get(..params).unwrap_or_default();
    let mut out = JsonText::new(arena);
    out.begin_object();
    if let Some((_, origin)) = head.split_once("origin=") {
        out.text(
            "origin",
            origin.split(',').next().unwrap_or_default().trim(),
        );
    }
    let name = name(head);
    if let Some(name) = name {
        out.text("event_name", name);
    }
    out.key("params");
    let end = if is_bundle {
        bundle::read(lines, params, &mut out)?
    } else {
        plist::read(lines, params, &mut out)?
    };
    out.end_object();
    Ok((Rewritten::whole(out.finish()), name, end))
}

/// Returns the event's name: the word after `name=`, or the last word before the parameters.
fn name(head: &str) -> Option<&str> {
    let named = match head.split_once("name=") {
        Some((_, rest)) => rest.split(',').next()?,
        None => head
            .trim_end()
            .trim_end_matches(',')
            .rsplit([',', ':'])
            .next()?,
    };
    let name = without_short_name(named.trim());
    let is_name = !name.is_empty() && name != LOGGED && name.bytes().all(is_word);
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Vec<String> {
        let arena = Arena::new();
        let events = read(text, &arena).unwrap();
        events.iter().map(|event| event.json.to_owned()).collect()
    }

    #[test]
    fn each_sdk_logs_in_its_own_way() {
        for (text, expected) in [
            (
                "Logging event: origin=app,name=purchase,params=Bundle[{value=1}]",
                r#"{"origin":"app","event_name":"purchase","params":{"value":"1"}}"#,
            ),
            (
                "11-22 21:20:00.123 V/FA-SVC ( 123): Logging event (FE): screen_view(_vs), \
                 Bundle[{a=b}]",
                r#"{"event_name":"screen_view","params":{"a":"b"}}"#,
            ),
            (
                "[FirebaseAnalytics][I-ACS023051] Logging event: origin, name, params: app, \
                 view_item (_vi), {\n a = b;\n}\n",
                r#"{"event_name":"view_item","params":{"a":"b"}}"#,
            ),
            (
                "view_item, {\n a = b;\n}",
                r#"{"event_name":"view_item","params":{"a":"b"}}"#,
            ),
            ("Bundle[{a=b}]", r#"{"params":{"a":"b"}}"#),
        ] {
            assert!(is_log_line(text), "{text}");
            assert_eq!(json(text), [expected], "{text}");
        }
        let logged = |kind: &str, name: &str| format!("iOS {kind}: {name}, {{\n a = b;\n}}\n");
        let [first, debug, last] = [
            "Logging event: origin, name, params: app",
            "Debug mode is enabled. Marking event as debug and real-time. Event name, parameters",
            "Event logged. Event name, event params",
        ];
        let line = |kind: &str, name: &str| logged(kind, name).replacen("app:", "app,", 1);
        for (lines, names) in [
            (vec![(last, "a")], vec!["a"]),
            (vec![(first, "a"), (debug, "a"), (last, "a")], vec!["a"]),
            (
                vec![(first, "a"), (first, "a"), (last, "a"), (last, "a")],
                vec!["a", "a"],
            ),
            (vec![(last, "a"), (first, "b"), (last, "b")], vec!["a", "b"]),
        ] {
            let text: String = lines.iter().map(|(kind, name)| line(kind, name)).collect();
            let expected = names
                .iter()
                .map(|name| format!(r#"{{"event_name":"{name}","params":{{"a":"b"}}}}"#));
            assert_eq!(json(&text), expected.collect::<Vec<_>>(), "{text}");
        }
        let two = "Logging event (FE): a, Bundle[{}]\nV/FA: Logging event (FE): b, Bundle[{}]\n";
        assert_eq!(json(two).len(), 2);
    }

    #[test]
    fn something_else_is_refused() {
        let arena = Arena::new();
        for text in [
            "Logging event",
            "Logging event (FE): a, Bundle[{}] b",
            "a, Bundle[{}]\nb",
            "a, {",
        ] {
            assert!(read(text, &arena).is_err(), "{text}");
        }
        for text in ["a b, {", ", {", "purchase", "a=1&b=2"] {
            assert!(!is_log_line(text), "{text}");
        }
    }
}
