{# What the databases have no common words for, and numbers that come out the same in all. #}

{# The day of a moment, which is a timestamp in UTC. #}
{% macro day_of(moment) -%}
  cast({{ moment }} at time zone 'UTC' at time zone '{{ var("time_zone") }}' as date)
{%- endmacro %}

{# A rate between integers with four decimals, rounded half up; NULL where nothing can be divided
   by. Floats would round some differently than PostgreSQL. #}
{% macro rate(numerator, denominator) -%}
  cast({{ adapter.dispatch('whole_division', 'ecommerce_lake')(
      '(20000 * cast(' ~ numerator ~ ' as bigint) + cast(' ~ denominator ~ ' as bigint))',
      'nullif(2 * cast(' ~ denominator ~ ' as bigint), 0)') }} * 0.0001 as decimal(18, 4))
{%- endmacro %}
{% macro default__whole_division(numerator, denominator) -%}
  ({{ numerator }} / {{ denominator }})
{%- endmacro %}
{% macro duckdb__whole_division(numerator, denominator) -%}
  ({{ numerator }} // {{ denominator }})
{%- endmacro %}

{# An amount with six decimals. #}
{% macro amount(expression) -%} cast({{ expression }} as decimal(38, 6)) {%- endmacro %}

{# Price times units. DuckDB's decimals have 38 digits in all, so the factors are cut to size. #}
{% macro product(price, units) -%}
  {{ adapter.dispatch('product', 'ecommerce_lake')(price, units) }}
{%- endmacro %}
{% macro default__product(price, units) -%} {{ price }} * {{ units }} {%- endmacro %}
{% macro duckdb__product(price, units) -%}
  cast({{ price }} as decimal(22, 6)) * cast({{ units }} as decimal(16, 6))
{%- endmacro %}

{# Seconds since 1970 as PostgreSQL prints them, a part of the id of an order without an id. #}
{% macro epoch_text(moment) -%}
  {{ adapter.dispatch('epoch_text', 'ecommerce_lake')(moment) }}
{%- endmacro %}
{% macro default__epoch_text(moment) -%} date_part('epoch', {{ moment }})::text {%- endmacro %}
{% macro duckdb__epoch_text(moment) -%}
  rtrim(rtrim(cast(cast(epoch_us({{ moment }}) as decimal(18, 0)) * 0.000001 as decimal(24, 6))
              ::varchar, '0'), '.')
{%- endmacro %}
