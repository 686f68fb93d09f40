//! SQL at the door: models and queries only ever read, and only the project's tables.

use crate::project::Project;

fn refused_model(sql: &str, exit: i32, code: &str) -> serde_json::Value {
    let project = Project::built();
    project.write("models/x.sql", sql);
    let error = project.fails_to_build("models/x", exit, code);
    assert!(error["place"].as_str().unwrap().starts_with("models/x.sql"), "{error}");
    project.still_answers();
    error
}

fn refused_query(sql: &str, code: &str) {
    Project::built().refuses(&["data", "query", sql], 2, code);
}

#[test]
fn a_wrong_column_is_named_with_the_right_one() {
    let error =
        refused_model("select titel from {{ source('manual', 'documents') }}", 2, "SXT-3003");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("titel") && message.contains("title"), "{message}");
    assert_eq!(error["place"], "models/x.sql:1");
}

#[test]
fn the_line_of_a_fault_is_the_line_of_the_template() {
    let sql = "{{ config(tags=['x']) }}\n\nselect\n    path,\n    titel\nfrom {{ source('manual', 'documents') }}";
    let error = refused_model(sql, 2, "SXT-3003");
    assert_eq!(error["place"], "models/x.sql:5", "{error}");
}

#[test]
fn a_model_that_reads_a_file_is_refused() {
    refused_model("select * from '/etc/passwd'", 2, "SXT-3003");
}

#[test]
fn a_model_that_calls_a_file_function_is_refused() {
    refused_model("select * from read_csv('/etc/passwd')", 2, "SXT-3003");
}

#[test]
fn a_model_that_drops_a_table_is_refused() {
    refused_model("drop table documents", 2, "SXT-3004");
}

#[test]
fn a_model_that_copies_to_a_file_is_refused() {
    let project = Project::built();
    let target = project.outside().join("out.csv");
    project.write("models/x.sql", &format!("copy (select 1) to '{}'", target.display()));
    project.fails_to_build("models/x", 2, "SXT-3004");
    assert!(!target.exists());
}

#[test]
fn a_model_of_two_statements_is_refused() {
    refused_model("select 1 as a; select 2 as b", 2, "SXT-3004");
}

#[test]
fn a_model_that_makes_an_outer_table_is_refused() {
    let sql = "create external table t stored as csv location '/etc/passwd'";
    refused_model(sql, 2, "SXT-3004");
}

#[test]
fn a_model_that_is_not_sql_is_refused() {
    refused_model("selec 1", 2, "SXT-3003");
}

#[test]
fn an_empty_model_is_refused() {
    let project = Project::built();
    project.write("models/x.sql", "\n");
    let ended = project.run(&["build", "--json"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn a_template_that_does_not_end_is_refused() {
    let project = Project::built();
    project.write("models/x.sql", "select 1 as a {{ ref('sections' ");
    let ended = project.run(&["build", "--json"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(format!("{}{}", ended.out, ended.err).contains("SXT-3002"), "{ended:?}");
    project.still_answers();
}

#[test]
fn a_query_that_reads_a_file_is_refused() {
    refused_query("select * from '/etc/passwd'", "SXT-3003");
}

#[test]
fn a_query_that_writes_is_refused() {
    refused_query("insert into sections values (1)", "SXT-3004");
}

#[test]
fn a_query_that_changes_a_setting_is_refused() {
    refused_query("set datafusion.execution.batch_size = 1", "SXT-3004");
}

#[test]
fn a_query_that_explains_is_refused() {
    refused_query("explain select 1", "SXT-3004");
}

#[test]
fn a_query_for_a_table_that_is_not_there_is_refused() {
    refused_query("select * from nosuch", "SXT-3003");
}

#[test]
fn an_empty_query_is_refused() {
    let ended = Project::built().run(&["data", "query", "", "--json"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn a_query_gives_columns_and_rows() {
    let project = Project::built();
    let result =
        project.json(&["data", "query", "select path, heading from sections order by 1, 2"]);
    assert_eq!(result["rows"].as_array().unwrap().len(), 4, "{result}");
    assert_eq!(result["columns"].as_array().unwrap().len(), 2);
    assert_eq!(result["truncated"], false);
}

#[test]
fn a_query_stops_at_its_limit_and_says_so() {
    let project = Project::built();
    let result = project.json(&["data", "query", "select path from sections", "--limit", "2"]);
    assert_eq!(result["rows"].as_array().unwrap().len(), 2, "{result}");
    assert_eq!(result["truncated"], true);
}

#[test]
fn the_tables_are_listed_with_their_rows() {
    let tables = Project::built().json(&["data", "tables"]);
    let rows: Vec<_> = tables["tables"].as_array().unwrap().iter().collect();
    let of = |name: &str| rows.iter().find(|row| row["asset"] == name).unwrap()["rows"].clone();
    assert_eq!(of("sources/manual"), 3);
    assert_eq!(of("models/sections"), 4);
}

#[test]
fn a_table_of_ones_own_lives_through_the_commands() {
    let project = Project::built();
    project.write("imports/o.csv", "id,item\n1,tea\n2,rice\n");
    project.json(&["sql", "create table orders as select * from 'imports/o.csv'"]);
    project.json(&["data", "tag", "first", "orders"]);
    project.json(&["sql", "delete from orders where id = 1"]);
    assert_eq!(project.json(&["data", "show", "orders@first"])["total"], 2);
    let restored = project.json(&["data", "restore", "orders", "v0"]);
    assert_eq!(restored["delta_version"], 2, "{restored}");
    let csv = project.run(&["sql", "--csv", "select * from orders order by id"]);
    assert_eq!(csv.out, "id,item\n1,tea\n2,rice\n");
    let why = project.run(&["why", "tables/orders"]);
    assert!(why.out.contains("imports/o.csv"), "{why:?}");
    let report = project.json(&["data", "gc", "--older-than", "0s"]);
    assert_eq!(report["removed"].as_array().unwrap().len(), 1, "{report}");
    project.refuses(&["data", "show", "orders@1"], 4, "SXT-3032");
    project.refuses(&["sql", "delete from sections"], 2, "SXT-3031");
    assert_eq!(project.run(&["data", "gc", "--older-than", "soon"]).code, Some(2));
    project.still_answers();
}
