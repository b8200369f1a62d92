//! What holds for every body whatever.

use fact_model::{Arena, Envelope, Options, flatten, flatten_in};

/// Flattens, and checks what holds for every body.
pub fn check(body: &[u8]) {
    let envelope = flatten(body);
    assert!(!envelope.facts.is_empty() || !envelope.rejected.is_empty());
    let json = serde_json::to_string(&envelope).unwrap();
    assert!(
        json.len() <= 1536 * 1024 + 64 * body.len(),
        "{} bytes became {}",
        body.len(),
        json.len()
    );
    let read: Envelope<'_> = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    let arena = Arena::new();
    assert_eq!(
        serde_json::to_string(&flatten_in(&arena, &Options::default(), body, None)).unwrap(),
        json
    );
    for fact in &envelope.facts {
        assert!(!json.contains('\0') && !fact.event_name.contains('\0'));
    }
    for rejection in &envelope.rejected {
        assert!(!rejection.raw.contains('\0'));
    }
}
