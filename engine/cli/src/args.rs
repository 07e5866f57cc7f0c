//! What can be typed: commands, options, and the forms of their values.

use std::{ffi::OsString, path::PathBuf};

use baton_dsl::FunctionName;
use clap::{Args, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};
use clap_complete::Shell;
use time::OffsetDateTime;

use crate::times;

#[derive(Debug, Parser)]
#[command(name = "baton", version, about = "Durable workflows on NATS", after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Where batond answers: a URL or `host:port`.
    #[arg(long, global = true, env = "BATON_URL", default_value = "http://127.0.0.1:7420")]
    pub(crate) url: String,
    /// The token that says who you are; better set in the environment, where process lists do not show it.
    #[arg(long, global = true, env = "BATON_TOKEN", hide_env_values = true, value_name = "JWT")]
    pub(crate) token: Option<String>,
    /// Who you are, for an engine in development mode, which believes it.
    #[arg(long = "as", global = true, env = "BATON_AS", value_name = "NAME")]
    pub(crate) person: Option<String>,
    /// How to answer: for people, as one JSON document, or (lint) as SARIF, or (test) as JUnit XML.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// No colour, also on a terminal.
    #[arg(long, global = true, env = "NO_COLOR", value_parser = FalseyValueParser::new())]
    pub(crate) no_color: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
    Sarif,
    Junit,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OnceCommand {
    /// Show which step holds a key, and how far it has come.
    #[command(after_help = "Examples:\n  baton once show finance pay:invoice:4711")]
    Show {
        /// Of the step's function.
        department: String,
        /// As `metadata.once.key` gave it.
        key: String,
    },
    /// Say whether something has happened whose step has ended without an answer.
    #[command(
        after_help = "Examples:\n  baton once resolve finance pay:invoice:4711 --happened\n  \
        baton once resolve finance pay:invoice:4711 --did-not-happen --reason 'the bank knows nothing of it'"
    )]
    Resolve {
        /// Of the step's function.
        department: String,
        /// As `metadata.once.key` gave it.
        key: String,
        /// It has: nobody does it again.
        #[arg(long, required_unless_present = "did_not_happen")]
        happened: bool,
        /// It has not: whoever wants to may do it now.
        #[arg(long, conflicts_with = "happened")]
        did_not_happen: bool,
        /// For whoever looks into it later.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Publish CloudEvents; instances that listen take them a moment later.
    #[command(
        after_help = "Each event is a JSON object; a file may hold one, several, or a list of them. What is \
        missing of specversion, id, source and time is filled in.\n\nExamples:\n  \
        echo '{\"type\": \"order.paid\", \"data\": {\"order\": 7}}' | baton event publish -\n  \
        baton event publish --department sales events.jsonl"
    )]
    Publish {
        /// JSON; `-` is the standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Whose events they are: the last part of their subject on NATS.
        #[arg(long, value_name = "NAME", default_value = "")]
        department: String,
    },
}

/// Where functions of a catalog lie when no engine is asked.
#[derive(Clone, Debug, Args)]
pub(crate) struct Folder {
    /// A folder with functions of the catalog, each in NAME/VERSION/function.yaml.
    #[arg(long, value_name = "DIR")]
    pub(crate) functions: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Hold a set against the schema, strictly, and see what lifts its denials; exit status 1 when it has errors.
    #[command(after_help = "Examples:\n  baton policy check policies/packs\n  \
        baton policy check policies/packs -o json | jq -r .sha256")]
    Check {
        /// With *.cedar, and entities.json for people, groups and agents.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Ask a set the questions of its cases; exit status 1 when one is answered otherwise, 2 when they cannot be asked.
    #[command(after_help = "Examples:\n  baton policy test policies/packs\n  \
        baton policy test policies/packs -o json | jq '.files[].cases[] | select(.passed | not)'")]
    Test {
        /// With cases/*.yaml beside its policies.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Ask another set everything that was asked before, and see what it would have changed: it is exact, because all that a
    /// policy saw is on record.
    #[command(
        after_help = "Examples:\n  baton policy backtest --policy policies/mine --since 30d\n  \
        baton policy backtest --policy policies/mine -o json | jq .flips\n\n\
        Exit status: 0; with --expect-same 1 when a verdict changes; 2 when it cannot be done."
    )]
    Backtest {
        /// The folder of the set.
        #[arg(long, value_name = "FOLDER")]
        policy: PathBuf,
        /// Only what was asked since: `90s`, `15m`, `2h`, `30d` ago, or a time as `2026-01-31T08:00:00Z`.
        #[arg(long, value_name = "AGO|TIME", value_parser = parse_since, default_value = "30d")]
        since: OffsetDateTime,
        /// How many of the cases that change are listed.
        #[arg(long, value_name = "N", default_value_t = 20)]
        list: usize,
        /// Exit with status 1 when a verdict changes.
        #[arg(long)]
        expect_same: bool,
    },
    /// Check a set and store it in the engine; it counts when somebody activates it.
    #[command(after_help = "Examples:\n  baton policy deploy policies/packs\n  \
        baton policy deploy policies/packs -o json | jq .set.version")]
    Deploy {
        /// With *.cedar, and entities.json for people, groups and agents.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// List the sets that are deployed, and who let which of them count from when.
    #[command(
        after_help = "Examples:\n  baton policy list\n  baton policy list -o json | jq .active"
    )]
    List,
    /// Print the texts of a set: of the one that counts unless a version is named.
    #[command(after_help = "Examples:\n  baton policy show\n  \
        diff <(baton policy show 3) <(baton policy show 4)")]
    Show {
        /// As `list` names it.
        #[arg(value_name = "VERSION", default_value_t = 0, hide_default_value = true)]
        version: u32,
    },
    /// Let a set count, now or from a time on; policies may want somebody else than who deployed it.
    #[command(after_help = "Examples:\n  baton policy activate 4 --reason 'limits of 2027'\n  \
        baton policy activate 4 --from 2027-01-01T00:00:00Z")]
    Activate {
        /// As `list` names it.
        #[arg(value_name = "VERSION")]
        version: u32,
        /// From when on, in RFC 3339; now when not said.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        from: Option<OffsetDateTime>,
        /// Why, for people.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Let the set count again that did before the present one.
    #[command(after_help = "Examples:\n  baton policy rollback --reason 'nobody could pay'")]
    Rollback {
        /// Why, for people.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Write what has happened into a file that proves itself: everything in a period, or one instance.
    #[command(after_help = "Examples:\n  baton audit export --to all.audit\n  \
        baton audit export --since 2026-01-01T00:00:00Z --until 2026-02-01T00:00:00Z --to january.audit\n  \
        baton audit export --instance 01990000-0000-7000-8000-000000000000 --to case.audit")]
    Export(ExportArguments),
    /// Check such a file, without an engine; exit status 1 when anything is not as it was exported.
    #[command(
        after_help = "Examples:\n  baton audit verify january.audit --key audit-public.pem\n  \
        baton audit verify january.audit -o json | jq .findings"
    )]
    Verify {
        /// What `export` wrote.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The engine's public audit key, in PEM; may be repeated, for files that begin under an older key. The key in the file
        /// is believed when not said.
        #[arg(long = "key", value_name = "PUBLIC.pem")]
        keys: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// From this time on: `90s`, `15m`, `2h`, `30d` ago, or a time as `2026-01-31T08:00:00Z`; from the beginning when not said.
    #[arg(long, value_name = "AGO|TIME", value_parser = parse_since, conflicts_with = "instance")]
    pub(crate) since: Option<OffsetDateTime>,
    /// Before this time; up to now when not said.
    #[arg(long, value_name = "AGO|TIME", value_parser = parse_since, conflicts_with = "instance")]
    pub(crate) until: Option<OffsetDateTime>,
    /// Only this instance: what `start` printed.
    #[arg(long, value_name = "ID")]
    pub(crate) instance: Option<String>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// A step of an instance, as the inbox names it.
#[derive(Clone, Debug)]
pub(crate) struct StepOf {
    pub(crate) instance: String,
    pub(crate) step: u32,
}

impl std::str::FromStr for StepOf {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (instance, step) = text.split_once('/').ok_or(Error::StepOf)?;
        let step = step.parse().map_err(|_| Error::StepOf)?;
        Ok(Self { instance: instance.to_owned(), step })
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ClaimArguments {
    /// As `inbox` names it.
    #[arg(value_name = "INSTANCE/STEP")]
    pub(crate) which: StepOf,
    /// As whom, where several of your groups are asked.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) group: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AnswerArguments {
    #[command(flatten)]
    pub(crate) about: ClaimArguments,
    /// Why; a refusal must say it.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// The digest that you have looked at: should it be about something else by now, you have answered nothing. What the
    /// inbox shows now when not said.
    #[arg(long, value_name = "HEX")]
    pub(crate) digest: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FunctionsCommand {
    /// Check a function and store it in the engine's catalog.
    #[command(after_help = "Examples:\n  baton functions deploy greet:1.0.0 greet.yaml\n  \
        cat greet.yaml | baton functions deploy greet:1.0.0 -")]
    Deploy {
        /// What it is called by: `call: NAME:VERSION@default`.
        #[arg(value_name = "NAME:VERSION")]
        name: FunctionName,
        /// One task, in YAML or JSON; `-` is the standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// List the functions of the catalog; what is done when nothing else is asked for.
    #[command(after_help = "Examples:\n  baton functions list\n  baton functions list -o json")]
    List,
    /// Print the source of a function.
    #[command(after_help = "Examples:\n  baton functions show greet:1.0.0\n  \
        baton functions show greet:1.0.0 -o json | jq -r .hash")]
    Show {
        /// As it was deployed.
        #[arg(value_name = "NAME:VERSION")]
        name: FunctionName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a NATS server and an engine on this machine, to try things out.
    #[command(after_help = DEV_HELP)]
    Dev(DevArguments),
    /// Check workflow files and store them in the engine.
    #[command(after_help = "Examples:\n  baton deploy order.yaml\n  baton deploy flows/*.yaml\n  \
        cat order.yaml | baton deploy -")]
    Deploy {
        /// YAML or JSON; `-` is the standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Check workflow files without storing them; exit status 1 when one has errors.
    #[command(after_help = LINT_HELP)]
    Lint {
        /// YAML or JSON; `-` is the standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Ask the engine, too: it knows its catalog, and which functions the workers offer and what they take.
        #[arg(long)]
        engine: bool,
        /// Before it runs where it matters: a workflow must say who owns it, who is on call, and its class of risk.
        #[arg(long)]
        production: bool,
        #[command(flatten)]
        catalog: Folder,
    },
    /// Run scenarios of workflows without an engine, on a clock that needs no time.
    #[command(after_help = TEST_HELP)]
    Test {
        /// Files of scenarios, YAML or JSON; `-` is the standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        catalog: Folder,
    },
    /// Draw a workflow as Mermaid text.
    #[command(after_help = "Examples:\n  baton diagram order.yaml\n  \
        baton diagram --short order.yaml\n  cat order.yaml | baton diagram - > order.mmd")]
    Diagram {
        /// YAML or JSON; `-` is the standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only the outermost tasks, seven at most.
        #[arg(long)]
        short: bool,
        #[command(flatten)]
        catalog: Folder,
    },
    /// The engine's catalog: functions that every workflow may call.
    #[command(after_help = FUNCTIONS_HELP)]
    Functions {
        #[command(subcommand)]
        command: Option<FunctionsCommand>,
    },
    /// Sets of policies: check one, try one out, without an engine.
    #[command(after_help = "Examples:\n  baton policy check policies/packs\n  \
        baton policy test policies/packs")]
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// What has happened, in a file that proves itself.
    #[command(after_help = "Examples:\n  baton audit export --to all.audit\n  \
        baton audit verify all.audit --key audit-public.pem")]
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// What you may approve, the most urgent first.
    #[command(
        after_help = "Examples:\n  baton inbox\n  baton inbox --group managers -o json | jq '.items[0].arguments'"
    )]
    Inbox {
        /// Only what this group is asked.
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        group: String,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Let a step go out that the inbox shows.
    #[command(
        after_help = "Examples:\n  baton approve 01990000-0000-7000-8000-000000000000/3 --reason 'as agreed'"
    )]
    Approve(AnswerArguments),
    /// Refuse a step that the inbox shows: it fails with an authorization error that says why.
    #[command(
        after_help = "Examples:\n  baton deny 01990000-0000-7000-8000-000000000000/3 --reason 'twice the usual price'"
    )]
    Deny(AnswerArguments),
    /// Work on a step that the inbox shows, so that others leave it alone.
    #[command(after_help = "Examples:\n  baton claim 01990000-0000-7000-8000-000000000000/3\n  \
        baton claim 01990000-0000-7000-8000-000000000000/3 --group managers")]
    Claim(ClaimArguments),
    /// Leave a step to others again that you have claimed.
    #[command(after_help = "Examples:\n  baton release 01990000-0000-7000-8000-000000000000/3")]
    Release(ClaimArguments),
    /// Stop agents, functions, workflows or everything at once: commands leave the queue, workers are told, and what they
    /// still answer is put on record and not applied.
    #[command(after_help = KILL_HELP)]
    Kill {
        /// What to stop.
        scope: String,
        /// For whoever looks into it later.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
        /// Only say what would be stopped and how fast, and put that on record.
        #[arg(long)]
        drill: bool,
    },
    /// Let go on what a kill switch has stopped, each step as a new attempt.
    #[command(after_help = "Examples:\n  baton rearm 3 --reason 'the price list is right again'")]
    Rearm {
        /// The number that `kill` printed.
        number: u32,
        /// For whoever looks into it later.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Show who holds the key of what must not happen twice, or say what became of it.
    #[command(after_help = "Examples:\n  baton once show finance pay:invoice:4711\n  \
        baton once resolve finance pay:invoice:4711 --happened --reason 'on the statement of 3 May'")]
    Once {
        #[command(subcommand)]
        command: OnceCommand,
    },
    /// List the kill switches that stop something.
    #[command(after_help = "Examples:\n  baton switches\n  baton switches --all -o json")]
    Switches {
        /// Also those that were armed again, and drills.
        #[arg(long)]
        all: bool,
    },
    /// List the workflows that are deployed, or print the source of one.
    #[command(after_help = "Examples:\n  baton definitions\n  baton definitions sales\n  \
        baton definitions sales/order:1.2.0")]
    Definitions {
        /// A namespace to list, or the workflow to print.
        #[arg(value_name = "NS[/NAME[:VERSION]]")]
        which: Option<WorkflowFilter>,
    },
    /// Start an instance of a workflow.
    #[command(after_help = START_HELP)]
    Start(StartArguments),
    /// List instances, newest first.
    #[command(after_help = "Examples:\n  baton list --status running\n  \
        baton list --workflow sales/order --since 2h\n  baton list --label customer=7 --limit 500 -o json")]
    List(ListArguments),
    /// Show one instance: what it is, and its tasks against time.
    #[command(after_help = "Examples:\n  baton show 01990000-0000-7000-8000-000000000000\n  \
        BATON_JAEGER_URL=http://127.0.0.1:16686 baton show ID\n  baton show ID -o json | jq .timeline")]
    Show {
        /// Of the instance: what `start` printed.
        id: String,
        /// Where Jaeger's pages are, for a link to the instance's trace.
        #[arg(long, env = "BATON_JAEGER_URL", value_name = "URL")]
        jaeger_url: Option<String>,
    },
    /// Print all events of an instance, oldest first.
    #[command(
        after_help = "Examples:\n  baton history ID\n  baton history ID -o json | jq '.events[].kind'"
    )]
    History {
        /// Of the instance: what `start` printed.
        id: String,
    },
    /// Print the events of an instance as they happen, until it ends.
    #[command(
        after_help = "Examples:\n  baton watch ID\n  baton watch ID -o json | jq -c '{kind, task}'"
    )]
    Watch {
        /// Of the instance: what `start` printed.
        id: String,
        /// Leave out the first so many events.
        #[arg(long, default_value_t = 0, value_name = "N")]
        after: u64,
    },
    /// End an instance: queued steps are withdrawn, running workers are told.
    #[command(after_help = "Examples:\n  baton cancel ID --reason 'ordered twice'")]
    Cancel(Reasoned),
    /// End an instance at once and for good.
    #[command(after_help = "Examples:\n  baton terminate ID --reason 'runs away'")]
    Terminate(Reasoned),
    /// Hold an instance: results of running steps are taken, nothing new begins.
    #[command(after_help = "Examples:\n  baton suspend ID --reason 'audit'")]
    Suspend(Reasoned),
    /// Let a suspended instance go on.
    #[command(after_help = "Examples:\n  baton resume ID")]
    Resume {
        /// Of the instance: what `start` printed.
        id: String,
    },
    /// Run an ended instance again from a task of its outermost list.
    #[command(after_help = "Examples:\n  baton rerun ID --from chargeCard")]
    Rerun {
        /// Of the instance: what `start` printed.
        id: String,
        /// Name of the task to begin with; it gets the input that it had.
        #[arg(long, value_name = "TASK")]
        from: String,
    },
    /// Events from outside, for whoever listens.
    #[command(
        subcommand,
        after_help = "Examples:\n  baton event publish events.jsonl\n  baton event publish -"
    )]
    Event(EventCommand),
    /// Say how the engine is and what to do about it; exit status 1 when something is wrong.
    #[command(after_help = "Examples:\n  baton doctor\n  baton doctor --production\n  \
        baton doctor --url http://10.0.0.7:7420 -o json")]
    Doctor {
        /// Count what keeps the engine from being production-ready as wrong, too.
        #[arg(long)]
        production: bool,
    },
    /// Print a completion script for a shell.
    #[command(after_help = "Examples:\n  source <(baton completion bash)\n  \
        baton completion zsh > ~/.zfunc/_baton\n  baton completion fish > ~/.config/fish/completions/baton.fish")]
    Completion {
        /// The shell that is to understand it.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    /// The workflow; without a version, the highest.
    #[arg(value_name = "NS/NAME[:VERSION]")]
    pub(crate) workflow: WorkflowName,
    /// The input: JSON, `@FILE`, or `-` for the standard input.
    #[arg(short, long, default_value = "{}", value_name = "JSON|@FILE|-")]
    pub(crate) input: String,
    /// Idempotency key: the same key, workflow and input give the same instance.
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) key: String,
    /// A label to find the instance by; may be repeated.
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
    /// Wait until the instance has ended.
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// Wait so many milliseconds at most (implies --wait); exit status 1 when it has not ended by then.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) wait_ms: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only of this workflow, or of this namespace.
    #[arg(short, long, value_name = "NS[/NAME]")]
    pub(crate) workflow: Option<WorkflowFilter>,
    /// Only those that are so.
    #[arg(short, long, value_enum)]
    pub(crate) status: Option<StatusFilter>,
    /// Only with this label; may be repeated.
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
    /// Only started since: `90s`, `15m`, `2h`, `3d` ago, or a time as `2026-01-31T08:00:00Z`.
    #[arg(long, value_name = "AGO|TIME", value_parser = parse_since)]
    pub(crate) since: Option<OffsetDateTime>,
    /// How many at most; 0: all of them.
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    /// Of the instance: what `start` printed.
    pub(crate) id: String,
    /// Why; it is kept in the instance's history.
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct DevArguments {
    /// Where everything is kept: the log, the cache, what the two processes say.
    #[arg(long, default_value = ".baton", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Where the engine answers gRPC.
    #[arg(long, default_value = "127.0.0.1:7420", value_name = "ADDRESS")]
    pub(crate) listen: String,
    /// Where the engine answers HTTP: health and metrics.
    #[arg(long, default_value = "127.0.0.1:7421", value_name = "ADDRESS")]
    pub(crate) http: String,
    /// Port for NATS; 4222 unless that is taken.
    #[arg(long, value_name = "PORT")]
    pub(crate) nats_port: Option<u16>,
    /// How many partitions the engine has.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) partitions: Option<u32>,
    /// The NATS server to run, 2.12 or newer.
    #[arg(long, env = "BATON_NATS_SERVER", value_name = "FILE")]
    pub(crate) nats_server: Option<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFilter {
    Pending,
    Running,
    Waiting,
    Suspended,
    Cancelled,
    Faulted,
    Completed,
}

/// `namespace/name:version`; without a version, the highest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkflowName {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Empty: the highest.
    pub(crate) version: String,
}

/// A namespace, or one workflow in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WorkflowFilter {
    Namespace(String),
    Workflow(WorkflowName),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) key: String,
    pub(crate) value: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("wanted NS/NAME or NS/NAME:VERSION, as in sales/order:1.2.0")]
    WorkflowName,
    #[error("wanted KEY=VALUE")]
    Label,
    #[error("wanted a time ago such as 90s, 15m, 2h or 3d, or a time such as 2026-01-31T08:00:00Z")]
    Since,
    #[error("wanted INSTANCE/STEP, as `baton inbox` prints it")]
    StepOf,
    #[error("wanted a time such as 2027-01-01T00:00:00Z")]
    Time,
}

impl std::str::FromStr for WorkflowName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (namespace, rest) = text.split_once('/').ok_or(Error::WorkflowName)?;
        let (name, version) = match rest.split_once(':') {
            Some((_, "")) => return Err(Error::WorkflowName),
            Some((name, version)) => (name, version),
            None => (rest, ""),
        };
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return Err(Error::WorkflowName);
        }
        Ok(Self { namespace: namespace.into(), name: name.into(), version: version.into() })
    }
}

impl std::str::FromStr for WorkflowFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains('/') {
            text.parse().map(Self::Workflow)
        } else if text.is_empty() || text.contains(':') {
            Err(Error::WorkflowName)
        } else {
            Ok(Self::Namespace(text.into()))
        }
    }
}

impl std::str::FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.into(), value: value.into() })
            }
            _ => Err(Error::Label),
        }
    }
}

impl Command {
    /// Whether it can answer in this form.
    pub(crate) fn writes(&self, format: Format) -> bool {
        match format {
            Format::Text | Format::Json => true,
            Format::Sarif => matches!(self, Self::Lint { .. }),
            Format::Junit => matches!(self, Self::Test { .. }),
        }
    }
}

impl Arguments {
    /// Whether JSON was asked for, also where the rest of the line could not be understood.
    pub(crate) fn want_json(mut line: impl Iterator<Item = String>) -> bool {
        while let Some(word) = line.next() {
            match word.as_str() {
                "-o" | "--output" => return line.next().as_deref() == Some("json"),
                "-ojson" | "-o=json" | "--output=json" => return true,
                "--" => return false,
                _ => {}
            }
        }
        false
    }
}

fn parse_time(text: &str) -> Result<OffsetDateTime, Error> {
    times::parse(text).ok_or(Error::Time)
}

fn parse_since(text: &str) -> Result<OffsetDateTime, Error> {
    if let Some(ago) = times::parse_duration(text) {
        let ago = ago.try_into().map_err(|_| Error::Since)?;
        return times::now().checked_sub(ago).ok_or(Error::Since);
    }
    times::parse(text).ok_or(Error::Since)
}

const HELP: &str = "\
Examples:
  baton dev                                        an engine to try things with
  baton deploy order.yaml
  baton start sales/order --input '{\"id\": 7}' --wait
  baton lint order.yaml                            mistakes, without an engine
  baton test order.test.yaml                       scenarios, without an engine
  baton list --status faulted --since 2h
  baton show 01990000-0000-7000-8000-000000000000

Exit status: 0 well; 2 the engine refused, or a file cannot be used (test); 3 the instance faulted or was cancelled
(start --wait); 1 anything else.";

const LINT_HELP: &str = "\
Examples:
  baton lint order.yaml
  baton lint --engine flows/*.yaml
  baton lint --functions catalog flows/*.yaml
  baton lint -o json - < order.yaml
  baton lint -o sarif flows/*.yaml > lint.sarif

Exit status: 0 no errors, perhaps warnings; 1 errors.";

const FUNCTIONS_HELP: &str = "\
Examples:
  baton functions
  baton functions deploy greet:1.0.0 greet.yaml
  baton functions show greet:1.0.0

A workflow calls such a function with `call: greet:1.0.0@default`, and keeps the text that it was deployed with.";

const TEST_HELP: &str = "\
Examples:
  baton test order.test.yaml
  baton test -o json flows/*.test.yaml
  baton test -o junit flows/*.test.yaml > junit.xml

Exit status: 0 every scenario holds; 1 one does not; 2 a file cannot be used.";

const DEV_HELP: &str = "\
Examples:
  baton dev
  baton dev --dir /tmp/try --listen 127.0.0.1:8420 --http 127.0.0.1:8421 --nats-port 8422

Both processes end with this command (Ctrl-C). What they say is in DIR/nats.log and DIR/batond.log.
For development only: there is no access control, and a power cut may lose what was acknowledged last.";

const KILL_HELP: &str = "Scopes:\n  everything\n  department:finance\n  function:finance.pay\n  \
    worker:finance-7                  its steps go to other workers\n  \
    workflow:finance/purchase:1.2.0   or all versions, without one; no instance is started either\n  \
    label:customer=4711               instances with this label\n  \
    class:personal                    instances into which such data has flowed\n\nExamples:\n  \
    baton kill function:finance.pay --reason 'pays twice'\n  baton kill everything --drill\n  baton rearm 3";

const START_HELP: &str = "\
Examples:
  baton start sales/order --input '{\"id\": 7}'
  baton start sales/order:1.2.0 --input @order.json --key order-7 --label customer=7
  echo '{\"id\": 7}' | baton start sales/order --input - --wait -o json

Exit status with --wait: 0 completed; 3 faulted or cancelled; 1 not ended within --wait-ms.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed_and_each_has_examples() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  "), "{} has no examples", sub.get_name());
        }
    }

    #[test]
    fn a_workflow_is_namespace_name_and_perhaps_a_version() {
        let name = |text: &str| {
            text.parse::<WorkflowName>().ok().map(|n| (n.namespace, n.name, n.version))
        };
        let parts = |a: &str, b: &str, c: &str| Some((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(name("sales/order"), parts("sales", "order", ""));
        assert_eq!(name("sales/order:1.2.0"), parts("sales", "order", "1.2.0"));
        for wrong in ["order", "/order", "sales/", "sales/order:", "a/b/c", ""] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_label_may_hold_more_equal_signs() {
        assert_eq!(
            "a=b=c".parse::<Label>().unwrap(),
            Label { key: "a".into(), value: "b=c".into() }
        );
        assert!("=x".parse::<Label>().is_err());
        assert!("x".parse::<Label>().is_err());
    }

    #[test]
    fn a_start_takes_all_its_options() {
        let line = [
            "baton",
            "start",
            "a/b:1.0.0",
            "--input",
            "-",
            "--key",
            "k",
            "--label",
            "x=1",
            "--label",
            "y=2",
        ];
        let arguments = Arguments::try_parse_from(line.into_iter().chain(["--wait", "-o", "json"]))
            .expect("it is right");
        assert_eq!(arguments.common.output, Format::Json);
        let Command::Start(start) = arguments.command else { panic!("not a start") };
        assert_eq!(
            (start.input.as_str(), start.key.as_str(), start.labels.len(), start.wait),
            ("-", "k", 2, true)
        );
    }

    #[test]
    fn an_input_may_begin_with_a_minus_sign_only_as_the_standard_input() {
        assert!(Arguments::try_parse_from(["baton", "start", "a/b", "--wait-ms", "0"]).is_err());
        assert!(Arguments::try_parse_from(["baton", "start", "a/b", "--input=-1"]).is_ok());
    }

    #[test]
    fn since_is_a_duration_ago_or_a_time() {
        let ago = times::now() - parse_since("2h").unwrap();
        assert!((7_199.0..7_260.0).contains(&ago.as_seconds_f64()), "{ago}");
        assert_eq!(parse_since("2026-01-31T08:00:00Z").unwrap().unix_timestamp(), 1_769_846_400);
        assert!(parse_since("yesterday").is_err());
    }

    #[test]
    fn json_is_noticed_on_a_line_that_is_wrong_elsewhere() {
        let want = |line: &str| Arguments::want_json(line.split(' ').map(str::to_owned));
        assert!(want("start --nonsense -o json"));
        assert!(want("--output=json start"));
        assert!(!want("start -o text"));
        assert!(!want("start"));
    }
}
