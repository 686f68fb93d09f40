//! Are tables joined in an order with few rows in between, and are the rows the same as ever?

use serde_json::json;

use super::Bench;

/// 3 countries, 30 shops, 3,000 orders with 4 lines each.
const TABLES: &str = "
    create table countries as select value as id, case value when 1 then 'FR' else 'DE' end as name
        from generate_series(1, 3);
    create table shops as select value as id, value % 3 + 1 as country from generate_series(1, 30);
    create table sales as select value as id, value % 30 + 1 as shop, value % 7 as weekday
        from generate_series(1, 3000);
    create table lines as select value as id, value % 3000 + 1 as sale, value % 5 as amount
        from generate_series(1, 12000)";

/// A query, its rows, and the joins from the outermost to the innermost, by what they compare.
type Case = (&'static str, serde_json::Value, &'static [&'static str]);

fn cases() -> Vec<Case> {
    vec![
        // The condition is on the last table: it is joined first.
        (
            "select count(*) from lines l, sales s, shops h, countries c
             where l.sale = s.id and s.shop = h.id and h.country = c.id and c.name = 'FR'",
            json!([[4000]]),
            &["s.id = l.sale", "h.id = s.shop", "c.id = h.country"],
        ),
        // Conditions over several tables go to where all of them are there.
        (
            "select count(*) from lines l, sales s, shops h, countries c
             where l.sale = s.id and s.shop = h.id and h.country = c.id and c.name = 'FR'
             and l.amount + h.id < 5",
            json!([[400]]),
            &["s.id = l.sale", "h.id = s.shop", "c.id = h.country"],
        ),
        // An equality whose one side is about two tables.
        (
            "select count(*) from lines l, sales s, shops h, countries c
             where l.sale = s.id and s.shop = h.id and h.country = c.id and c.name = 'FR'
             and l.amount + s.weekday = h.id",
            json!([[116]]),
            &["s.id = l.sale", "h.id = s.shop", "c.id = h.country"],
        ),
        // As it is written is good enough.
        (
            "select count(*) from countries c join shops h on h.country = c.id
             join sales s on s.shop = h.id where c.name = 'FR'",
            json!([[1000]]),
            &["h.id = s.shop", "c.id = h.country"],
        ),
        // The same table twice, and columns with the same name.
        (
            "select count(*), min(a.id), max(b.id) from lines a, sales s, lines b, shops h
             where a.sale = s.id and b.sale = s.id and s.shop = h.id and h.id = 7",
            json!([[1600, 5, 11975]]),
            &["s.id = b.sale", "s.id = a.sale", "h.id = s.shop"],
        ),
        // Whether a sale has a partner is asked before its lines are joined.
        (
            "select count(*) from shops h, sales s, lines l
             where h.id = s.shop and s.id = l.sale
             and s.id in (select sale from lines group by sale having sum(amount) > 10)",
            json!([[4800]]),
            &["s.id = l.sale", "h.id = s.shop", "LeftSemi Join: s.id = __correlated_sq_1.sale"],
        ),
        // Outer joins, and joins on nothing, stay where they are.
        (
            "select count(*) from countries c left join shops h on h.country = c.id and h.id > 27
             left join sales s on s.shop = h.id",
            json!([[300]]),
            &["Left Join: h.id = s.shop", "Left Join: c.id = h.country"],
        ),
        ("select count(*) from countries a, countries b, shops c", json!([[270]]), &[]),
    ]
}

#[test]
fn what_lets_few_rows_through_is_joined_first() {
    let bench = Bench::new(&[]);
    bench.sql(TABLES);
    for (query, rows, order) in cases() {
        assert_eq!(bench.rows(query), rows, "{query}");
        let plan = bench.rows(&format!("explain {query}")).to_string();
        let logical = plan.split("physical_plan").next().unwrap_or_default();
        let joins = logical.split("\\n").filter(|line| line.contains("Join: "));
        let on = |line: &str| line.split(" Filter: ").next().unwrap_or_default().trim().to_owned();
        let found: Vec<String> = joins.map(on).collect();
        let found: Vec<&str> =
            found.iter().map(|line| line.trim_start_matches("Inner Join: ")).collect();
        assert_eq!(found, order, "{query}\n{}", logical.replace("\\n", "\n"));
    }
}
