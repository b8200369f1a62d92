//! The lines in which the Firebase SDKs log their events.
//!
//! Android: `Logging event: origin=app,name=purchase,params=Bundle[{…}]`, or `Logging event (FE): purchase,
//! Bundle[{…}]`. iOS: `Logging event: origin, name, params: app, view_item, {…}`. Without what a logger puts in
//! front it is `view_item, {…}`. A logger's own prefix says when the line was written, without a year or a time
//! zone, so it is no time of the event.

use crate::arena::Arena;
use crate::formats::json_text::JsonText;
use crate::formats::plist::{self, without_short_name};
use crate::formats::{Fault, Rewritten, bundle, is_word};

const LOGGED: &str = "Logging event";

/// Whether a text is one or more such lines.
pub(crate) fn is_log_line(text: &str) -> bool {
    text.contains(LOGGED) || text.starts_with("Bundle[") || is_short(text)
}

/// Whether a text begins with a name and its parameters.
fn is_short(text: &str) -> bool {
    let (head, rest) = text.split_once(',').unwrap_or((text, ""));
    let rest = rest.trim_start();
    let name = without_short_name(head);
    !name.is_empty()
        && name.bytes().all(is_word)
        && (rest.starts_with('{') || rest.starts_with("Bundle["))
}

/// Reads the event of each line.
pub(crate) fn read<'a>(text: &str, arena: &'a Arena) -> Result<Vec<Rewritten<'a>>, Fault> {
    let mut starts: Vec<usize> = text.match_indices(LOGGED).map(|(at, _)| at).collect();
    if starts.is_empty() {
        starts.push(0);
    }
    let mut events = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let next = starts.get(index + 1);
        let lines = text
            .get(*start..next.copied().unwrap_or(text.len()))
            .unwrap_or_default();
        let fault = |fault: Fault| fault.after(*start);
        let (mut event, end) = event(lines, arena).map_err(fault)?;
        // Before the next event stands what the logger puts in front of its line.
        let rest = lines.get(end..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        if !line.trim().is_empty() || next.is_none() && !rest.trim().is_empty() {
            return Err(fault(Fault::new(end, "something follows the parameters")));
        }
        if starts.len() > 1 {
            event.at = format!("[{index}]");
        }
        events.push(event);
    }
    Ok(events)
}

/// Reads the event that `lines` begins with, and tells where its parameters end.
fn event<'a>(lines: &str, arena: &'a Arena) -> Result<(Rewritten<'a>, usize), Fault> {
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
    if let Some(name) = name(head) {
        out.text("event_name", name);
    }
    out.key("params");
    let end = if is_bundle {
        bundle::read(lines, params, &mut out)?
    } else {
        plist::read(lines, params, &mut out)?
    };
    out.end_object();
    Ok((Rewritten::whole(out.finish()), end))
}

/// The event's name, the last word before the parameters or what stands behind `name=`.
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
                "11-22 21:20:00.123 V/FA-SVC ( 123): Logging event (FE): screen_view(_vs), Bundle[{a=b}]",
                r#"{"event_name":"screen_view","params":{"a":"b"}}"#,
            ),
            (
                "[FirebaseAnalytics][I-ACS023051] Logging event: origin, name, params: app, view_item (_vi), {\n a = b;\n}\n",
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
