//! The actions of Universal Analytics' enhanced e-commerce and the events of GA4 that they are, the same in
//! a hit (`pa=detail`) and in a data layer (`ecommerce.detail`).

/// The event of an impression of products.
pub(crate) const IMPRESSION: &str = "view_item_list";
/// The events of promotions.
pub(crate) const PROMOTION_VIEW: &str = "view_promotion";
pub(crate) const PROMOTION_CLICK: &str = "select_promotion";

/// The event of a product action. A checkout's first step begins it; GA4 has no events for
/// the others and for options, so they get the names that gtag.js had for them.
pub(crate) fn event_of_action<'t>(action: &'t str, step: Option<&str>) -> &'t str {
    match action {
        "detail" => "view_item",
        "click" => "select_item",
        "add" => "add_to_cart",
        "remove" => "remove_from_cart",
        "checkout" if matches!(step, None | Some("" | "1")) => "begin_checkout",
        "checkout" => "checkout_progress",
        "checkout_option" => "set_checkout_option",
        other => other,
    }
}
