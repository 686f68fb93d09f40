//! Do the pages of experiments show what clients logged, say where there is nothing, and never run what
//! a client wrote?

use serde_json::json;
use sextant_server::AuthMode;

use crate::{World, client::Ask, fake::Fake};

const PAGES: &[(&str, u16, &str)] = &[
    ("/experiments", 200, "href=\"/experiments/1\""),
    ("/experiments?q=it%27s", 200, "value=\"it's\""),
    ("/experiments/1", 200, "data-runs-table=\"1\""),
    ("/experiments/2", 404, "not found"),
    ("/experiments/1/runs/a1", 200, "data-charts="),
    ("/experiments/1/runs/a1", 200, "at step 4"),
    ("/experiments/1/runs/b", 404, "not found"),
    ("/experiments/2/runs/a1", 404, "there is nothing at"),
    ("/experiments/1/compare", 200, "No runs were chosen"),
    ("/experiments/1/compare?runs=a1,a2", 200, "Compare 2 runs"),
    ("/experiments/1/compare?runs=a1,a2&only=differences", 200, "1 of 2"),
    ("/experiments/1/compare?runs=a1,b", 404, "not found"),
    ("/models", 200, "href=\"/models/cats\""),
    ("/models/cats", 200, "/experiments/1/runs/a1"),
    ("/traces", 200, "href=\"/traces/tr-1\""),
    ("/traces?filter=x", 200, "no such word"),
    ("/traces/tr-1", 200, "class=\"waterfall\""),
    ("/traces/none", 404, "not found"),
];

#[tokio::test]
async fn what_was_logged_is_shown() {
    crate::pages::check(Fake::default(), PAGES).await;
}

#[tokio::test]
async fn where_nothing_was_logged_the_pages_say_how() {
    let pages = [
        ("/experiments", 200, "export MLFLOW_TRACKING_URI=http://"),
        ("/models", 200, "No registered models yet"),
        ("/traces", 200, "No traces yet"),
        ("/traces?experiment=1", 200, "No such trace"),
    ];
    crate::pages::check(Fake { empty: true, ..Fake::default() }, &pages).await;
}

#[tokio::test]
async fn what_clients_wrote_is_only_words() {
    let fake = Fake { hostile: true, ..Fake::default() };
    let world = World::new(AuthMode::TrustedLoopback, fake).await;
    for (path, status, _) in PAGES {
        let reply = Ask::get(path).with("accept", "text/html").send(world.addr).await;
        assert_eq!(reply.status, *status, "{path} {}", reply.body);
        let loose = ["<script>alert", "<img", " onerror=", " style="];
        let said = reply.body.replace("&lt;img src=x onerror=", "");
        assert!(!loose.iter().any(|bad| said.contains(bad)), "{path}: {}", reply.body);
    }
}

#[tokio::test]
async fn who_may_read_may_look() {
    let world = World::new(AuthMode::Required, Fake::default()).await;
    let admin = format!("Bearer {}", world.admin_key());
    let made = Ask::post("/api/v1/keys", json!({ "name": "r", "role": "read" }));
    let made = made.with("authorization", &admin).send(world.addr).await.json();
    let key = format!("Bearer {}", made["key"].as_str().unwrap_or_else(|| panic!("{made}")));
    for (path, status, _) in PAGES {
        let reply = Ask::get(path).with("authorization", &key).send(world.addr).await;
        assert_eq!(reply.status, *status, "{path}");
    }
    let counts = Ask::post("/ajax-api/2.0/sextant/experiments/counts", json!({}));
    assert_eq!(counts.with("authorization", &key).send(world.addr).await.status, 200);
}

#[tokio::test]
async fn a_script_names_others_with_their_edition() {
    let world = World::open().await;
    let reply = Ask::get("/static/charts.js").send(world.addr).await;
    assert!(reply.body.contains("from \"./plot.js?e="), "{}", reply.body);
}
