{{ config(description='One row per section of the manual, with its byte range in the page', tags=['text']) }}

-- Each page is cut at its headings. `chunk` names the passage: the same bytes of the same
-- document version always get the same name.
select
    chunk_id(doc_version, s['byte_start'], s['byte_end']) as chunk,
    doc_version,
    path,
    s['ordinal'] as ordinal,
    s['heading'] as heading,
    s['breadcrumb'] as breadcrumb,
    s['body'] as body,
    s['byte_start'] as byte_start,
    s['byte_end'] as byte_end
from (
    select
        doc_version,
        path,
        unnest(markdown_sections(text)) as s
    from {{ source('manual', 'documents') }}
) as pieces
-- A heading with nothing below it is not a passage.
where btrim(s['body'], ' ' || chr(9) || chr(10) || chr(13)) <> ''
