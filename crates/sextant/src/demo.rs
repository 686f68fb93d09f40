//! The whole loop on a real example. It has no mechanism of its own: every step is the operation
//! that a user's own project uses, told in a line or two.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use serde_json::Value;
use sextant_app::{App, Op, OpenProject};
use sextant_core::{Cancel, ExitKind};

use crate::{
    cancel_on_interrupt,
    cli::{Global, ServeArgs},
    progress::Screen,
    render::{Style, seconds},
    serve,
    session::io_trouble,
    trouble::Trouble,
};

/// The question that is asked before and after the change.
const QUESTION: &str = "How do I undo a release that turned out to be bad?";
/// The question whose answer the changed page brings.
const CHANGED_QUESTION: &str = "What does the lighthouse keeper's rule say about Friday releases?";
/// The page that is changed, and the section that is added to it.
const CHANGED_PAGE: &str = "docs/using/rollback.md";
const ADDED_SECTION: &str = "\n## The lighthouse keeper's rule\n\nThe lighthouse keeper's rule \
says: never promote on a Friday afternoon, and if you did, roll back before you go home.\n";

/// Runs the demo in `dir`.
pub fn run(global: &Global, dir: &Path, exit: bool, port: u16) -> Result<u8, Trouble> {
    let begun = Instant::now();
    let demo = Demo::open(global, dir)?;
    demo.first_release()?;
    demo.ask_and_trace()?;
    demo.change_and_roll_back()?;
    let took = seconds(begun.elapsed().as_secs_f64());
    demo.say(&format!("\n{} in {took}", Style::Good.paint("the whole loop ran")));
    if exit {
        demo.next_steps(dir);
        return Ok(0);
    }
    demo.leave_running(dir, port)
}

struct Demo<'a> {
    global: &'a Global,
    app: Arc<App>,
    root: PathBuf,
    screen: Arc<Screen>,
    cancel: Cancel,
}

impl<'a> Demo<'a> {
    fn open(global: &'a Global, dir: &Path) -> Result<Self, Trouble> {
        let screen = Arc::new(Screen::new(global.quiet, false));
        if dir.exists() {
            screen.line(&format!("going on in {}, which exists already", dir.display()));
        } else {
            sextant_app::init_demo(dir)?;
            screen.line(&format!("made {} from the built-in template", dir.display()));
        }
        let app = App::open(dir, &OpenProject { profile: global.profile.clone() })?;
        let root = app.root().to_owned();
        Ok(Self { global, app: Arc::new(app), root, screen, cancel: cancel_on_interrupt() })
    }

    fn say(&self, text: &str) {
        if !self.global.quiet {
            self.screen.line(text);
        }
    }

    /// Tells which step comes and the command that does it, runs it, shows the result.
    fn step(&self, title: &str, command: &str, op: Op) -> Result<Value, Trouble> {
        self.say(&format!(
            "\n{}  {}",
            Style::Bold.paint(title),
            Style::Dim.paint(format!("$ {command}"))
        ));
        let begun = Instant::now();
        let result = self.app.run(op.clone(), &*self.screen, &self.cancel)?;
        if self.cancel.is_cancelled() {
            return Err(Trouble::new("SXT-8002", ExitKind::Failure, "cancelled"));
        }
        if self.global.json {
            crate::show(self.global, &op, &result)?;
        } else {
            let quiet = Global { quiet: true, ..self.global.clone() };
            crate::show(&quiet, &op, &result)?;
        }
        self.say(&Style::Dim.paint(format!("{title}: {}", seconds(begun.elapsed().as_secs_f64()))));
        if result["failed"].as_u64().unwrap_or(0) > 0 {
            return Err(Trouble::new("SXT-8007", ExitKind::Failure, "the demo's build failed")
                .hint(format!("sextant -C {} status", self.root.display())));
        }
        Ok(result)
    }

    fn build(&self, title: &str) -> Result<Value, Trouble> {
        let op = Op::Build { select: Vec::new(), exclude: Vec::new(), full: false };
        self.step(title, "sextant build", op)
    }

    fn ask(&self, title: &str, question: &str) -> Result<Value, Trouble> {
        let op = Op::Ask { question: question.to_owned(), release: None };
        self.step(title, &format!("sextant ask \"{question}\""), op)
    }

    /// Ingest, transform, check, snapshot, train, index, evaluate, release.
    fn first_release(&self) -> Result<(), Trouble> {
        self.build("Build: from files to a release")?;
        self.step("The tables", "sextant data tables", Op::DataTables {})?;
        let best = Op::Best { metric: None, asset: None, experiment: None, min: None };
        self.step("The best checkpoint", "sextant track best", best)?;
        self.step("The evaluation", "sextant eval show", Op::EvalShow { name: None })?;
        self.step("The release", "sextant release list", Op::ReleaseList {})?;
        Ok(())
    }

    fn ask_and_trace(&self) -> Result<(), Trouble> {
        self.ask("Ask", QUESTION)?;
        let why = Op::Why { id: "last".to_owned() };
        self.step("Why: back to the bytes", "sextant why last", why)?;
        Ok(())
    }

    fn change_and_roll_back(&self) -> Result<(), Trouble> {
        self.ask("Ask what nobody wrote yet", CHANGED_QUESTION)?;
        let page = self.root.join(CHANGED_PAGE);
        let text = std::fs::read_to_string(&page)
            .map_err(|error| io_trouble(&format!("read {CHANGED_PAGE}"), &error))?;
        std::fs::write(&page, format!("{text}{ADDED_SECTION}"))
            .map_err(|error| io_trouble(&format!("change {CHANGED_PAGE}"), &error))?;
        self.say(&format!("\n{}", Style::Bold.paint(format!("Added a section to {CHANGED_PAGE}"))));
        self.build("Build only what that made stale")?;
        self.ask("Ask again", CHANGED_QUESTION)?;
        let diff = Op::Diff { a: "assistant~1".to_owned(), b: "assistant".to_owned() };
        self.step("What moved", "sextant diff assistant~1 assistant", diff)?;
        self.step("Roll back", "sextant rollback", Op::Rollback { release: None })?;
        self.ask("The old answer again, in one step", CHANGED_QUESTION)?;
        Ok(())
    }

    fn next_steps(&self, dir: &Path) {
        self.say("\nnext:");
        for command in [
            format!("cd {} && sextant dev", dir.display()),
            format!("sextant -C {} why last", dir.display()),
            "sextant init my-assistant --docs ./my-docs".to_owned(),
        ] {
            self.say(&format!("  {command}"));
        }
    }

    /// Serves until Ctrl-C, on another port when the wanted one is taken.
    fn leave_running(self, dir: &Path, port: u16) -> Result<u8, Trouble> {
        let runtime = serve::server_runtime()?;
        let args = |port| ServeArgs::plain(Some(port));
        let running = runtime.block_on(async {
            match serve::start(&self.app, &args(port)).await {
                Err(trouble) if trouble.exit == ExitKind::Conflict.exit_code() => {
                    self.say(&format!("port {port} is taken: using a free one"));
                    serve::start(&self.app, &args(0)).await
                }
                other => other,
            }
        })?;
        let lander = serve::land_in_the_background(&self.app, &self.screen, &self.cancel)?;
        serve::deliver_in_the_background(&self.app, &self.screen, &self.cancel)?;
        serve::announce(&self.app, &running);
        self.next_steps(dir);
        self.say("\nCtrl-C stops the server");
        while !self.cancel.is_cancelled() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        runtime.block_on(running.shutdown());
        let _ = lander.join();
        Ok(0)
    }
}
