-- Which platforms lose carts and checkouts, by sessions and by people?
-- Abandoned: an add_to_cart or a begin_checkout, and no purchase in the session, or by the person
-- in the range. For other rows put day or all in the place of platform.
--
-- Example:
--   platform | cart_sessions | cart_abandonment_rate | checkout_sessions | checkout_abandonment_rate | checkout_starters | checkout_abandonment_user_rate
--  ----------+---------------+-----------------------+-------------------+---------------------------+-------------------+--------------------------------
--   WEB      |            27 |                0.1852 |                48 |                    0.1667 |                15 |                         0.0000
--   IOS      |            22 |                0.1364 |                64 |                    0.2344 |                11 |                         0.0000
--   ANDROID  |             1 |                1.0000 |                 1 |                    0.0000 |                 1 |                         0.0000
SELECT value AS platform, cart_sessions, round(cart_abandonment_rate, 4) AS cart_abandonment_rate,
       checkout_sessions, round(checkout_abandonment_rate, 4) AS checkout_abandonment_rate,
       checkout_starters, round(checkout_abandonment_user_rate, 4) AS checkout_abandonment_user_rate
FROM analytics.abandonment('platform', analytics.first_day(), analytics.last_day())
ORDER BY checkout_starters DESC, platform;
