//! Which relations of PostgreSQL's catalogs are there, and with which columns?
//!
//! A column is `name:type`, where the type is `i` (integer), `t` (text), `b` (boolean) or `l` (a
//! list of texts, always null), with `=default` for rows that do not name it (`~` stands for a
//! space); without a default it is null.

/// A relation of a catalog.
pub(super) struct Relation {
    pub schema: &'static str,
    pub name: &'static str,
    pub oid: i64,
    pub columns: &'static str,
    /// Whether it never has rows: there are no such things here.
    pub empty: bool,
}

pub(super) const PG: &str = "pg_catalog";
pub(super) const INFORMATION: &str = "information_schema";

const fn filled(name: &'static str, oid: i64, columns: &'static str) -> Relation {
    Relation { schema: PG, name, oid, columns, empty: false }
}

const fn empty(name: &'static str, oid: i64, columns: &'static str) -> Relation {
    Relation { schema: PG, name, oid, columns, empty: true }
}

const fn standard(name: &'static str, oid: i64, columns: &'static str) -> Relation {
    Relation { schema: INFORMATION, name, oid, columns, empty: false }
}

/// All of them.
pub(super) const RELATIONS: &[Relation] = &[
    filled(
        "pg_class",
        1259,
        "oid:i relname:t relnamespace:i reltype:i=0 reloftype:i=0 relowner:i=10 relam:i=2 \
         relfilenode:i reltablespace:i=0 relpages:i=0 reltuples:i relallvisible:i=0 \
         reltoastrelid:i=0 relhasindex:b=f relisshared:b=f relpersistence:t=p relkind:t=r \
         relnatts:i relchecks:i=0 relhasrules:b=f relhastriggers:b=f relhassubclass:b=f \
         relrowsecurity:b=f relforcerowsecurity:b=f relispopulated:b=t relreplident:t=d \
         relispartition:b=f relrewrite:i=0 relfrozenxid:i=0 relminmxid:i=0 relacl:l reloptions:l \
         relpartbound:t",
    ),
    filled(
        "pg_attribute",
        1249,
        "attrelid:i attname:t atttypid:i attstattarget:i=-1 attlen:i attnum:i attndims:i=0 \
         attcacheoff:i=-1 atttypmod:i=-1 attbyval:b=f attalign:t=i attstorage:t=p \
         attcompression:t= attnotnull:b=f atthasdef:b=f atthasmissing:b=f attidentity:t= \
         attgenerated:t= attisdropped:b=f attislocal:b=t attinhcount:i=0 attcollation:i=0 attacl:l \
         attoptions:l attfdwoptions:l attmissingval:t",
    ),
    filled(
        "pg_type",
        1247,
        "oid:i typname:t typnamespace:i=11 typowner:i=10 typlen:i typbyval:b=f typtype:t=b \
         typcategory:t typispreferred:b=f typisdefined:b=t typdelim:t=, typrelid:i=0 typelem:i=0 \
         typarray:i=0 typinput:t typoutput:t typbasetype:i=0 typtypmod:i=-1 typnotnull:b=f \
         typcollation:i=0 typndims:i=0 typdefault:t",
    ),
    filled("pg_namespace", 2615, "oid:i nspname:t nspowner:i=10 nspacl:l"),
    filled(
        "pg_database",
        1262,
        "oid:i datname:t datdba:i=10 encoding:i=6 datlocprovider:t=c datistemplate:b=f \
         datallowconn:b=t datconnlimit:i=-1 dattablespace:i=0 datcollate:t=C datctype:t=C \
         daticulocale:t datcollversion:t datacl:l",
    ),
    filled("pg_am", 2601, "oid:i amname:t amhandler:t amtype:t"),
    filled(
        "pg_roles",
        12_000,
        "oid:i rolname:t rolsuper:b=f rolinherit:b=t rolcreaterole:b=f rolcreatedb:b=f \
         rolcanlogin:b=t rolreplication:b=f rolconnlimit:i=-1 rolvaliduntil:t rolbypassrls:b=f",
    ),
    filled("pg_user", 12_001, "usename:t usesysid:i=10 usecreatedb:b=f usesuper:b=f"),
    filled(
        "pg_tables",
        12_002,
        "schemaname:t tablename:t tableowner:t=sextant tablespace:t hasindexes:b=f hasrules:b=f \
         hastriggers:b=f rowsecurity:b=f",
    ),
    empty("pg_attrdef", 2604, "oid:i adrelid:i adnum:i adbin:t"),
    empty("pg_auth_members", 1261, "roleid:i member:i grantor:i admin_option:b"),
    empty("pg_collation", 3456, "oid:i collname:t collnamespace:i"),
    empty(
        "pg_constraint",
        2606,
        "oid:i conname:t connamespace:i contype:t condeferrable:b condeferred:b convalidated:b \
         conrelid:i contypid:i conindid:i conparentid:i confrelid:i confupdtype:t confdeltype:t \
         confmatchtype:t conkey:t confkey:t",
    ),
    empty("pg_depend", 2608, "classid:i objid:i objsubid:i refclassid:i refobjid:i deptype:t"),
    empty("pg_description", 2609, "objoid:i classoid:i objsubid:i description:t"),
    empty("pg_enum", 3501, "oid:i enumtypid:i enumsortorder:i enumlabel:t"),
    empty("pg_extension", 3079, "oid:i extname:t extnamespace:i extversion:t"),
    empty("pg_foreign_table", 3118, "ftrelid:i ftserver:i ftoptions:t"),
    empty("pg_foreign_server", 1417, "oid:i srvname:t"),
    empty(
        "pg_index",
        2610,
        "indexrelid:i indrelid:i indnatts:i indnkeyatts:i indisunique:b indisprimary:b \
         indisexclusion:b indimmediate:b indisclustered:b indisvalid:b indisready:b indislive:b \
         indisreplident:b indkey:t indexprs:t indpred:t indoption:t",
    ),
    empty("pg_inherits", 2611, "inhrelid:i inhparent:i inhseqno:i inhdetachpending:b"),
    empty("pg_language", 2612, "oid:i lanname:t"),
    empty("pg_matviews", 12_003, "schemaname:t matviewname:t matviewowner:t definition:t"),
    empty("pg_policy", 3256, "oid:i polname:t polrelid:i polcmd:t polpermissive:b polroles:t"),
    empty("pg_proc", 1255, "oid:i proname:t pronamespace:i prokind:t prorettype:i"),
    empty("pg_publication", 6104, "oid:i pubname:t puballtables:b"),
    empty("pg_publication_namespace", 6237, "oid:i pnpubid:i pnnspid:i"),
    empty("pg_publication_rel", 6106, "oid:i prpubid:i prrelid:i prqual:t prattrs:t"),
    empty("pg_range", 3541, "rngtypid:i rngsubtype:i"),
    empty("pg_rewrite", 2618, "oid:i rulename:t ev_class:i"),
    empty("pg_sequence", 2224, "seqrelid:i seqtypid:i"),
    empty("pg_statistic_ext", 3381, "oid:i stxrelid:i stxname:t stxnamespace:i stxkind:t"),
    empty("pg_trigger", 2620, "oid:i tgrelid:i tgname:t tgisinternal:b tgenabled:t"),
    empty("pg_views", 12_004, "schemaname:t viewname:t viewowner:t definition:t"),
    standard("schemata", 13_001, "catalog_name:t=sextant schema_name:t schema_owner:t=sextant"),
    standard(
        "tables",
        13_002,
        "table_catalog:t=sextant table_schema:t table_name:t table_type:t=BASE~TABLE \
         is_insertable_into:t=NO",
    ),
    standard(
        "columns",
        13_003,
        "table_catalog:t=sextant table_schema:t table_name:t column_name:t ordinal_position:i \
         column_default:t is_nullable:t=YES data_type:t character_maximum_length:i \
         numeric_precision:i numeric_scale:i datetime_precision:i udt_catalog:t=sextant \
         udt_schema:t=pg_catalog udt_name:t is_updatable:t=NO",
    ),
];
