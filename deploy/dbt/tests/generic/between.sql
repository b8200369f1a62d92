{% test between(model, column_name, at_least=none, at_most=none) %}
-- Bounds are SQL: a number, or an expression over other columns of the row. NULL passes.
select *
from {{ model }}
where false
{%- if at_least is not none %}
   or {{ column_name }} < {{ at_least }}
{%- endif %}
{%- if at_most is not none %}
   or {{ column_name }} > {{ at_most }}
{%- endif %}
{% endtest %}
