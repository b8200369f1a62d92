-- Described columns and those in the database are the same; otherwise this project and the database
-- are of different releases.
{% set differences = [] %}
{% if execute %}
  {% for node in graph.sources.values() if node.package_name == project_name %}
    {% set relation = api.Relation.create(
         database=node.database, schema=node.schema, identifier=node.identifier) %}
    {% set existing = adapter.get_columns_in_relation(relation) | map(attribute='name') | list %}
    {% for column in existing if column not in node.columns %}
      {% do differences.append(relation ~ '.' ~ column ~ ' is not described') %}
    {% endfor %}
    {% for column in node.columns if column not in existing %}
      {% do differences.append(relation ~ '.' ~ column ~ ' does not exist') %}
    {% endfor %}
  {% endfor %}
{% endif %}
select difference
from unnest(array[
    {% for d in differences %}'{{ d }}'{{ ', ' if not loop.last }}{% endfor %}
]::text[]) as difference
