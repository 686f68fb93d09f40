//! Which error codes does the project layer have? The catalogue that `sextant explain` prints.

use sextant_core::{Code, ExitKind};

macro_rules! codes {
    ($($name:ident = $number:literal, $kind:ident, $title:literal, $help:literal;)*) => {
        $(pub(crate) const $name: Code =
            Code { number: $number, kind: ExitKind::$kind, title: $title, help: $help };)*

        /// Every code of this crate, for `sextant explain`.
        pub const CODES: &[&Code] = &[$(&$name,)*];
    };
}

codes! {
    UNREADABLE = 2001, Usage, "a project file cannot be read",
        "The file is missing, is not readable by this user, or a disk error occurred. Check its \
         path and permissions.";
    TOO_LARGE = 2002, Usage, "a project file is too large",
        "Project files (TOML, SQL, prompts) may hold at most 1 MiB. Data belongs in a source.";
    NOT_TEXT = 2003, Usage, "a project file is not UTF-8 text",
        "Save the file as UTF-8. The message names the byte at which it stops being text.";
    SYNTAX = 2004, Usage, "a project file is not valid TOML",
        "The message and the place say where reading stopped.";
    UNKNOWN_KEY = 2005, Usage, "a project file has a key that nobody reads",
        "Unknown keys are refused so that a typing error cannot pass unseen. The hint names the \
         nearest known key; `sextant config schema` lists all of them.";
    BAD_VALUE = 2006, Usage, "a value in a project file is missing or has the wrong form",
        "The message says what was expected at that place.";
    VARIABLE = 2007, Usage, "an environment variable in a project file cannot be used",
        "`${NAME}` needs the variable to be set; `${NAME:-default}` gives a default; \
         `${NAME:?message}` refuses with your message; `$${` writes the characters `${`.";
    LITERAL_SECRET = 2008, Usage, "a secret is written in a project file",
        "Project files are kept in Git, so secrets are only referred to: { env = \"NAME\" } or \
         { file = \"path\" }.";
    UNKNOWN_PROFILE = 2009, NotFound, "there is no such profile",
        "Profiles are the tables [profiles.NAME] of sextant.toml.";
    SECRET_MISSING = 2010, Unavailable, "a secret that is referred to is not there",
        "Set the environment variable or create the file that the reference names.";
    DUPLICATE = 2011, Usage, "two files describe the same asset",
        "An asset's id is its folder and its name, so two files of one folder tree cannot share a \
         name. Rename one of them.";
    UNDECLARED_INPUT = 2012, Failure, "an asset read an input that it did not declare",
        "A defect of the layer that owns the asset: every input must be declared, or the chain of \
         lineage would have a hole.";
    UNKNOWN_INPUT = 2013, Usage, "an asset names an input that does not exist",
        "The hint names the nearest asset. `sextant status` lists all of them.";
    CYCLE = 2014, Usage, "assets depend on each other in a circle",
        "The message lists the circle. Take one of its inputs away.";
    UNKNOWN_SELECTOR = 2015, NotFound, "a selector matches no asset",
        "Selectors: a name, folder/name, +x (with all it needs), x+ (with all that needs it), \
         tag:word, path:glob.";
    BAD_SELECTOR = 2016, Usage, "a selector cannot be read",
        "Selectors: a name, folder/name, +x, x+, +x+, 2+x, x+1, tag:word, path:glob; a comma \
         joins conditions that must all hold.";
    TOO_MANY_ASSETS = 2017, Usage, "the project has too many assets or its folders are too deep",
        "Split the project. The limit protects memory and start-up time.";
    BAD_NAME = 2018, Usage, "a file's name cannot be an asset's name",
        "Names of assets have letters, digits, `.`, `_` and `-` only. Rename the file.";
    OUTSIDE_ROOT = 2019, Usage, "a path leads out of the project folder",
        "A symbolic link or a path with `..` points outside. Copy the file into the project, or \
         describe the other folder as a source.";
    NO_PROJECT = 2020, NotFound, "this is not a Sextant project",
        "There is no sextant.toml here. `sextant init NAME` makes a project; `--project DIR` \
         names another folder.";
    BUSY = 2021, Conflict, "another build or `data gc` is running on this project",
        "One of them runs at a time. Wait for it or cancel it.";
    TIMED_OUT = 2022, Failure, "an asset's build took too long and was stopped",
        "Raise timeout_s under [build] in sextant.toml, or make the work smaller.";
    PANICKED = 2023, Failure, "a layer crashed while it built an asset",
        "A defect. Nothing of that asset's build was kept; other assets were not touched. Please \
         report it with the message and the log file.";
    CANCELLED = 2024, Failure, "the build was cancelled",
        "Finished assets are kept; run `sextant build` to go on from there.";
    LOG_FILE = 2025, Failure, "the log of a build cannot be written",
        "Check free space and permissions of the data folder.";
    INPUT_MISSING = 2026, Conflict, "an input was never built",
        "Select it too: `+name` builds an asset with all that it needs.";
    BROKEN_ROW = 2027, Integrity, "a stored record of the project cannot be read",
        "The catalog holds something that this version did not write. Run `sextant fsck`.";
    RELEASE_PART = 2030, Usage, "a release needs a part that is not there",
        "A release pins documents, prompt, index, evaluation and serving configuration, and a \
         model where the index uses one. Build the assets first.";
    RELEASE_DIRTY = 2031, Conflict, "a release cannot be created from stale assets",
        "Run `sextant build` first: a release pins only versions that are up to date.";
    RELEASE_CHECKS = 2032, Conflict, "a release cannot be created while checks fail",
        "Look at the failing rows with `sextant data failures`, repair the data, and build again.";
    RELEASE_OPAQUE = 2033, Integrity, "something behind the release has an unknown origin",
        "A release is refused when the chain behind it has a hole. `sextant lineage holes` lists \
         them.";
    GATE_REFUSED = 2034, GateRefused, "the gate refused the release",
        "A rule of releases/*.toml did not hold. The message lists each rule with its figures.";
    GATE_VOID = 2035, GateRefused, "the evaluation report is about something else",
        "The report judged another index than the one the release pins, so its figures say \
         nothing about the release. Build again and create the release again.";
    UNKNOWN_RELEASE = 2037, NotFound, "there is no such release",
        "`sextant release list` shows all of them.";
    NO_EARLIER = 2038, Conflict, "there is no earlier release to go back to",
        "Rollback walks back through the releases that were live before this one.";
    NOT_GATED = 2039, GateRefused, "the release has not passed its gate",
        "Run `sextant release gate`, or promote with a reason that is kept in the audit trail.";
    BAD_REASON = 2040, Usage, "a forced promotion needs a reason",
        "Say in a few words why the gate is set aside; the words are kept in the audit trail.";
}
