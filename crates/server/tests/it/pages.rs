//! Do the pages show what there is, nothing where there is nothing, and never run what they show?

use sextant_server::AuthMode;

use crate::{World, client::Ask, fake, fake::Fake};

const RUN: &str = "/runs/0193a7c2-1111-7abc-8def-0123456789ab";

pub async fn check(fake: Fake, pages: &[(&str, u16, &str)]) {
    let world = World::new(AuthMode::TrustedLoopback, fake).await;
    for (path, status, words) in pages {
        let reply = Ask::get(path).with("accept", "text/html").send(world.addr).await;
        assert_eq!(reply.status, *status, "{path} {}", reply.body);
        assert!(reply.body.contains(words), "{path} should say {words:?}: {}", reply.body);
        let foreign = ["http://", "https://"].iter().any(|scheme| {
            reply.body.contains(&format!("src=\"{scheme}"))
                || reply.body.contains(&format!("href=\"{scheme}"))
        });
        assert!(!foreign, "{path} loads nothing from elsewhere");
        assert!(!reply.body.contains(" style=") && !reply.body.contains(" onclick="), "{path}");
    }
}

#[tokio::test]
async fn a_full_project() {
    let release = format!("/releases/{}", fake::digest("r2"));
    let diff = format!("/releases/diff?a={}&b={}", fake::digest("r1"), fake::digest("r2"));
    let compare = format!("{RUN}?compare=0193a7c2-2222-7abc-8def-0123456789cd");
    let pages = [
        ("/", 200, "unique(chunk): 3 failing rows"),
        ("/?theme=dark", 200, "data-theme=\"dark\""),
        ("/assets", 200, "<svg viewBox"),
        ("/assets/models/sections", 200, "checks/sections"),
        ("/assets/models/none", 404, "SXT-7020"),
        ("/v/last", 200, "weights copied by hand"),
        ("/v/missing", 404, "SXT-9404"),
        ("/sources", 200, "/sources/orders"),
        ("/sources/orders", 200, "770–811"),
        ("/sources/orders?skip=25", 200, "26–26 of 30"),
        ("/sources/orders?skip=x", 400, "must be a number"),
        ("/sources/orders?passed=2&failed=1", 200, "2 went into the table, 1 still"),
        ("/sources/none", 404, "SXT-9404"),
        ("/tables", 200, "models/sections"),
        ("/tables/sections", 200, "release assistant"),
        ("/tables/models/sections?at=1", 200, "at version 1"),
        ("/tables/sections?at=0", 200, "there is no such thing"),
        ("/tables/none", 404, "SXT-7020"),
        ("/runs", 200, "Best checkpoint"),
        (RUN, 200, "data-series"),
        (compare.as_str(), 200, "against 0.0012"),
        ("/runs/none", 404, "there is no such thing"),
        ("/releases", 200, "Roll assistant back?"),
        (release.as_str(), 200, "What is in it"),
        (diff.as_str(), 200, "guide/new.md added"),
        ("/releases/diff", 400, "must name release"),
        ("/ask", 200, "data-composer"),
        ("/docs/index", 200, "&lt;script&gt;"),
        ("/docs/guide/releases", 200, "id=\"rolling-back\""),
        ("/docs/none", 404, "SXT-7020"),
        ("/login", 200, "admin.key"),
        ("/fragments/why/last", 200, "class=\"tree\""),
        ("/static/app.js", 200, "toggleTheme"),
        ("/static/../keys.json", 404, ""),
        ("/nothing", 404, "Not found"),
    ];
    check(Fake::default(), &pages).await;
}

#[tokio::test]
async fn an_empty_project() {
    let pages = [
        ("/", 200, "No assets yet"),
        ("/assets", 200, "No assets yet"),
        ("/sources", 200, "No sources yet"),
        ("/tables", 200, "No tables yet"),
        ("/runs", 200, "No runs yet"),
        ("/releases", 200, "No releases yet"),
        ("/ask", 200, "Nothing is released yet"),
        ("/docs", 200, "No manual"),
        ("/v/last", 404, "SXT-9404"),
    ];
    check(Fake { empty: true, ..Fake::default() }, &pages).await;
}

#[tokio::test]
async fn hostile_words_are_only_words() {
    let world =
        World::new(AuthMode::TrustedLoopback, Fake { hostile: true, ..Fake::default() }).await;
    let release = format!("/releases/{}", fake::digest("r2"));
    let pages = [
        "/",
        "/assets/models/sections",
        "/v/last",
        "/releases",
        "/sources",
        "/sources/orders",
        "/tables/sections",
        &release,
        "/fragments/why/last",
        "/ask?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/login?next=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    ];
    for path in pages {
        let reply = Ask::get(path).send(world.addr).await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(!reply.body.contains("<script>alert") && !reply.body.contains("<img"), "{path}");
    }
}

#[tokio::test]
async fn forms_change_things_and_say_why_not() {
    let world = World::open().await;
    let refused = format!("digest={}", fake::digest("r3").replace(':', "%3A"));
    let reply = Ask::form("/releases/promote", &refused).send(world.addr).await;
    assert_eq!(reply.status, 500);
    assert!(reply.body.contains("the gate refused it"));
    let reply = Ask::form("/releases/promote", "digest=x").send(world.addr).await;
    assert_eq!((reply.status, reply.header("location")), (303, Some("/releases")));
    let reply = Ask::form("/sources/orders/replay", "").send(world.addr).await;
    let to = "/sources/orders?passed=2&failed=1#quarantine";
    assert_eq!((reply.status, reply.header("location")), (303, Some(to)));
    assert_eq!(
        Ask::get("/releases/promote").send(world.addr).await.status,
        405,
        "GET changes nothing"
    );
}
