//! Which webhooks are there? An address that is told of some events, and a secret that signs what it is
//! told. The secret is never shown.

use serde_json::{Map, Value, json};
use sextant_core::ActivityId;
use sextant_lineage::{Act, LineageError, Reader, Row};

use super::{
    super::{
        Answer, Fields, Mlflow, Refusal,
        names::at_most,
        refusal::{invalid, missing},
        search::Page,
    },
    events::Event,
    post::Message,
};

const PAGE: i64 = 100;
const PAGE_MAX: i64 = 1000;
/// Webhooks in all.
const HOOKS_MAX: i64 = 100;
const NAME_CHARS_MAX: usize = 63;
const WORDS_CHARS_MAX: usize = 1000;
const STATES: &[&str] = &["ACTIVE", "DISABLED"];
const COLUMNS: &str = "id, name, url, description, secret, status, created, updated";

/// A webhook as the catalog has it.
pub(super) struct Hook {
    id: String,
    name: String,
    url: String,
    description: String,
    secret: String,
    status: String,
    created: i64,
    updated: i64,
}

impl Hook {
    fn of(row: &Row) -> Result<Self, LineageError> {
        let text = |column| row.text(column).map(str::to_owned);
        Ok(Self {
            id: text(0)?,
            name: text(1)?,
            url: text(2)?,
            description: text(3)?,
            secret: text(4)?,
            status: text(5)?,
            created: row.int(6)?,
            updated: row.int(7)?,
        })
    }

    /// The webhook with this id.
    pub(super) fn find(reader: &Reader, id: &str) -> Result<Option<Self>, LineageError> {
        let sql = format!("SELECT {COLUMNS} FROM mlflow_webhooks WHERE id = ?1");
        let rows = reader.query(&sql, &[id.into()])?;
        rows.first().map(Self::of).transpose()
    }

    pub(super) fn is_active(&self) -> bool {
        self.status == "ACTIVE"
    }

    /// A signed message to it.
    pub(super) fn message(&self, delivery: &str, second: i64, body: String) -> Message {
        Message::new(&self.url, &self.secret, delivery, second, body)
    }

    /// The events of which it is told.
    fn events(&self, reader: &Reader) -> Result<Vec<Event>, Refusal> {
        let sql = "SELECT event FROM mlflow_webhook_events WHERE webhook = ?1 ORDER BY place";
        let rows = reader.query(sql, &[(&self.id).into()])?;
        let names: Result<Vec<&str>, _> = rows.iter().map(|row| row.text(0)).collect();
        Ok(names?.into_iter().filter_map(Event::named).collect())
    }

    fn shown(&self, reader: &Reader) -> Answer {
        let events: Vec<Value> = self.events(reader)?.into_iter().map(Event::shown).collect();
        let mut shown = json!({
            "webhook_id": self.id,
            "name": self.name,
            "url": self.url,
            "events": events,
            "status": self.status,
            "creation_timestamp": self.created,
            "last_updated_timestamp": self.updated,
        });
        if !self.description.is_empty() {
            shown["description"] = self.description.as_str().into();
        }
        Ok(shown)
    }

    /// Writes it down, as new or in place of what it was.
    fn put(&self, act: &mut Act) {
        act.execute(
            &format!(
                "INSERT INTO mlflow_webhooks ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, url = excluded.url,
                     description = excluded.description, secret = excluded.secret,
                     status = excluded.status, updated = excluded.updated"
            ),
            vec![
                (&self.id).into(),
                (&self.name).into(),
                (&self.url).into(),
                (&self.description).into(),
                (&self.secret).into(),
                (&self.status).into(),
                self.created.into(),
                self.updated.into(),
            ],
        );
    }

    fn put_events(&self, act: &mut Act, events: &[Event]) {
        let sql = "DELETE FROM mlflow_webhook_events WHERE webhook = ?1";
        act.execute(sql, vec![(&self.id).into()]);
        for (place, event) in (0_i64..).zip(events) {
            act.execute(
                "INSERT INTO mlflow_webhook_events (event, webhook, place) VALUES (?1, ?2, ?3)",
                vec![event.name().into(), (&self.id).into(), place.into()],
            );
        }
    }
}

impl Mlflow {
    fn hook(&self, reader: &Reader, id: &str) -> Result<Hook, Refusal> {
        let none = || missing(format!("Webhook with ID {id} not found."));
        Hook::find(reader, id)?.ok_or_else(none)
    }

    fn shown_hook(&self, id: &str) -> Answer {
        let reader = self.store().read()?;
        Ok(json!({ "webhook": self.hook(&reader, id)?.shown(&reader)? }))
    }

    /// Checks where a webhook is.
    fn check_url(&self, url: &str) -> Result<(), Refusal> {
        self.way_out()?.check(url).map_err(invalid)
    }

    pub(super) fn create_hook(&self, fields: Fields<'_>) -> Answer {
        let (name, url) = (fields.need("name")?, fields.need("url")?);
        let events = events_of(&fields)?.ok_or_else(|| fields.absent("events"))?;
        let words = words_of(&fields)?;
        check_name(name)?;
        self.check_url(url)?;
        if events.is_empty() {
            return Err(invalid(
                "Webhook events must be a non-empty list of WebhookEvent objects: [].",
            ));
        }
        let _turn = self.turn();
        let count = self.store().read()?.query("SELECT COUNT(*) FROM mlflow_webhooks", &[])?;
        if count.first().map_or(Ok(0), |row| row.int(0))? >= HOOKS_MAX {
            return Err(invalid(format!("at most {HOOKS_MAX} webhooks are kept")));
        }
        let now = self.now();
        let hook = Hook {
            id: ActivityId::new().to_string(),
            name: name.to_owned(),
            url: url.to_owned(),
            description: words.description.unwrap_or_default().to_owned(),
            secret: words.secret.unwrap_or_default().to_owned(),
            status: words.status.unwrap_or("ACTIVE").to_owned(),
            created: now,
            updated: now,
        };
        let mut act = self.act(format!("make webhook {name}"));
        hook.put(&mut act);
        hook.put_events(&mut act, &events);
        act.commit()?;
        self.shown_hook(&hook.id)
    }

    pub(super) fn get_hook(&self, fields: Fields<'_>) -> Answer {
        self.shown_hook(fields.place("webhook_id"))
    }

    pub(super) fn list_hooks(&self, fields: Fields<'_>) -> Answer {
        let size = match fields.int("max_results")?.unwrap_or_default() {
            0 => PAGE,
            size @ 1..=PAGE_MAX => size,
            _ => return Err(invalid(format!("max_results must be between 1 and {PAGE_MAX}."))),
        };
        let page = Page::of(fields.text("page_token")?, size)?;
        let reader = self.store().read()?;
        let sql = format!("SELECT {COLUMNS} FROM mlflow_webhooks ORDER BY created DESC, id DESC");
        let rows = reader.query(&sql, &[])?;
        let mut shown = Vec::new();
        for row in rows.iter().skip(page.begin()).take(page.size()) {
            shown.push(Hook::of(row)?.shown(&reader)?);
        }
        Ok(page.answer("webhooks", shown, rows.len().saturating_sub(page.begin())))
    }

    pub(super) fn update_hook(&self, fields: Fields<'_>) -> Answer {
        let id = fields.place("webhook_id");
        let given = |name: &str| Ok(fields.text(name)?.filter(|text| !text.is_empty()));
        let (name, url): (Result<_, Refusal>, Result<_, Refusal>) = (given("name"), given("url"));
        let (name, url, words) = (name?, url?, words_of(&fields)?);
        let events = events_of(&fields)?.filter(|events| !events.is_empty());
        let _turn = self.turn();
        let mut hook = self.hook(&self.store().read()?, id)?;
        if let Some(name) = name {
            check_name(name)?;
            name.clone_into(&mut hook.name);
        }
        if let Some(url) = url {
            self.check_url(url)?;
            url.clone_into(&mut hook.url);
        }
        for (text, kept) in [
            (words.description, &mut hook.description),
            (words.secret, &mut hook.secret),
            (words.status, &mut hook.status),
        ] {
            if let Some(text) = text {
                text.clone_into(kept);
            }
        }
        hook.updated = self.now();
        let mut act = self.act(format!("change webhook {}", hook.name));
        hook.put(&mut act);
        if let Some(events) = events {
            hook.put_events(&mut act, &events);
        }
        act.commit()?;
        self.shown_hook(id)
    }

    /// What it is still owed is given up when it is due.
    pub(super) fn delete_hook(&self, fields: Fields<'_>) -> Answer {
        let id = fields.place("webhook_id");
        let _turn = self.turn();
        let hook = self.hook(&self.store().read()?, id)?;
        let mut act = self.act(format!("delete webhook {}", hook.name));
        hook.put_events(&mut act, &[]);
        act.execute("DELETE FROM mlflow_webhooks WHERE id = ?1", vec![id.into()]);
        act.commit()?;
        Ok(json!({}))
    }

    pub(super) fn test_hook(&self, fields: Fields<'_>) -> Answer {
        let reader = self.store().read()?;
        let hook = self.hook(&reader, fields.place("webhook_id"))?;
        let first = hook.events(&reader)?.first().copied();
        drop(reader);
        let event = match fields.object("event")? {
            Some(event) => Some(Event::of(&Fields::inside(event, "event."))?),
            None => first,
        };
        let event = event.ok_or_else(|| fields.absent("event"))?;
        Ok(json!({ "result": self.try_out(&hook, event)? }))
    }
}

/// What may be said of a webhook and may be left out.
struct Words<'a> {
    description: Option<&'a str>,
    secret: Option<&'a str>,
    status: Option<&'static str>,
}

fn words_of<'a>(fields: &Fields<'a>) -> Result<Words<'a>, Refusal> {
    let (description, secret) = (fields.text("description")?, fields.text("secret")?);
    at_most(description.unwrap_or_default(), WORDS_CHARS_MAX, "description")?;
    at_most(secret.unwrap_or_default(), WORDS_CHARS_MAX, "secret")?;
    let status = fields.text("status")?.map(|word| {
        let known = STATES.iter().find(|state| **state == word).copied();
        known.ok_or_else(|| fields.wrong("status", &word.into()))
    });
    Ok(Words { description, secret, status: status.transpose()? })
}

/// The events that a call names, each once; none when it names none at all.
fn events_of(fields: &Fields<'_>) -> Result<Option<Vec<Event>>, Refusal> {
    if !fields.has("events") {
        return Ok(None);
    }
    let objects: Vec<&Map<String, Value>> = fields.objects("events")?;
    let mut events = Vec::new();
    for object in objects {
        let event = Event::of(&Fields::inside(object, "events."))?;
        if events.contains(&event) {
            return Err(invalid(format!("the event {} is given twice", event.name())));
        }
        events.push(event);
    }
    Ok(Some(events))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let fits = name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|c| plain(c) || "._-".contains(c))
        && name.len() <= NAME_CHARS_MAX;
    if fits {
        return Ok(());
    }
    Err(invalid(format!(
        "Webhook name '{name}' is invalid. It must start and end with a letter or digit, be less than 63 \
         characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
    )))
}
