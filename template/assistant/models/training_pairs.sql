{{ config(description='Queries and the passages that answer them, for the embedder', tags=['training']) }}

-- Nobody labelled these pairs: they come from the structure of the text itself.
--   heading     a section's title should find its body
--   breadcrumb  so should the titles on the way down to it
--   sentence    a sentence should find the rest of the section it was taken from
with sections as (
    select chunk, path, heading, breadcrumb, body
    from {{ ref('sections') }}
    where character_length(body) >= {{ var('passage_min', 80) }}
),

quoted as (
    select chunk, path, breadcrumb, body, unnest(sentences(body)) as sentence
    from sections
),

taken_out as (
    select
        chunk,
        path,
        sentence,
        breadcrumb || chr(10) || replace(body, sentence, ' ') as rest,
        character_length(replace(body, sentence, ' ')) as rest_length
    from quoted
    where character_length(sentence) between {{ var('query_min', 25) }} and {{ var('query_max', 240) }}
)

select heading as query, body as passage, chunk, path, 'heading' as kind
from sections
where character_length(heading) >= 3

union all

select breadcrumb as query, body as passage, chunk, path, 'breadcrumb' as kind
from sections
where breadcrumb <> heading and character_length(breadcrumb) >= 3

union all

select sentence as query, rest as passage, chunk, path, 'sentence' as kind
from taken_out
where rest_length >= {{ var('passage_min', 80) }}
