//! Speed against the bare loop: alternating rounds of one run, and their medians, because machines of one class differ by
//! a factor of two.

use std::io::{self, Write};

use anyhow::{Context as _, Result};

use crate::engine::{self, Costs, Round};
use crate::load::Load;
use crate::meter::{Figures, median};
use crate::report::{self, Bar, Report, align, short};
use crate::{ceiling, say};

/// What is measured, by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// 1,000 instances in flight, the broker with its defaults
    Full,
    /// The same, and the broker writes to the disk before it acknowledges
    SyncAlways,
    /// One instance at a time
    Alone,
    /// One instance of 1,000 parallel steps
    FanOut,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds of each, the bare loop and Baton in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only this one; the figures then go to target/bench-part.json
    #[arg(long, value_name = "NAME")]
    only: Option<Case>,
    /// One short round, while developing; the figures then go to target/bench-part.json
    #[arg(long)]
    quick: bool,
}

/// The rounds of one case.
struct Measured {
    case: Case,
    bare: Vec<ceiling::Round>,
    baton: Vec<Round>,
}

/// Answers whether all bars were cleared.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    let cases = match arguments.only {
        Some(case) => vec![case],
        None => vec![Case::Full, Case::SyncAlways, Case::Alone, Case::FanOut],
    };
    let rounds = if arguments.quick { 1 } else { arguments.rounds };
    let mut all = Vec::new();
    for case in cases {
        all.push(measure(case, rounds, arguments.quick).await?);
    }
    let mut report = Report::default();
    for measured in &all {
        measured.tell(&mut report);
    }
    let whole = arguments.only.is_none() && !arguments.quick;
    let path = report.save(if whole { "bench" } else { "bench-part" })?;
    let mut out = io::stdout().lock();
    compare(&all, &mut out)?;
    report.print(&mut out)?;
    writeln!(out, "Medians of {rounds} rounds each. Written to {}", path.display())?;
    Ok(report.all_cleared())
}

async fn measure(case: Case, rounds: u32, quick: bool) -> Result<Measured> {
    let load = case.load();
    let sync_always = case == Case::SyncAlways;
    let mut measured = Measured { case, bare: Vec::new(), baton: Vec::new() };
    for round in 1..=rounds {
        let bare = ceiling::round(load, sync_always, load.plan(quick)).await;
        let bare = bare.with_context(|| format!("the bare loop, {}", case.title()))?;
        let baton = engine::round(load, sync_always, load.plan(quick)).await;
        let baton = baton.with_context(|| format!("Baton, {}", case.title()))?;
        say(&format!(
            "{}, round {round} of {rounds}: bare loop {}, Baton {}",
            case.title(),
            case.shown(&bare.figures),
            case.shown(&baton.figures)
        ));
        measured.bare.push(bare);
        measured.baton.push(baton);
    }
    Ok(measured)
}

impl Case {
    fn load(self) -> Load {
        match self {
            Self::Full | Self::SyncAlways => Load::Full,
            Self::Alone => Load::Alone,
            Self::FanOut => Load::FanOut,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Full => "1,000 in flight",
            Self::SyncAlways => "1,000 in flight, sync always",
            Self::Alone => "one instance alone",
            Self::FanOut => "1,000 parallel steps",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Full | Self::SyncAlways => "steps/s",
            Self::Alone | Self::FanOut => "ms",
        }
    }

    /// The figure that counts, in its unit.
    fn figure(self, figures: &Figures) -> f64 {
        match self {
            Self::Full | Self::SyncAlways => self.load().steps_of(figures) / figures.seconds,
            Self::Alone | Self::FanOut => figures.p50_ms,
        }
    }

    fn shown(self, figures: &Figures) -> String {
        format!("{} {}", short(self.figure(figures)), self.unit())
    }

    fn bar(self) -> Bar {
        match self {
            Self::Full | Self::SyncAlways => Bar::AtLeast(0.25),
            Self::Alone => Bar::AtMost(3.0),
            Self::FanOut => Bar::AtMost(12.0),
        }
    }
}

impl Measured {
    fn bare(&self) -> f64 {
        median(self.bare.iter().map(|round| self.case.figure(&round.figures)))
    }

    fn baton(&self) -> f64 {
        self.of_baton(|round| self.case.figure(&round.figures))
    }

    fn ratio(&self) -> f64 {
        self.baton() / self.bare()
    }

    fn of_baton(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.baton.iter().map(figure))
    }

    fn tell(&self, report: &mut Report) {
        let bar = self.case.bar();
        match self.case {
            Case::Full => {
                report.add("ceiling_steps_per_s", self.bare(), Bar::None);
                report.add("steps_per_s", self.baton(), Bar::None);
                report.add("ratio", self.ratio(), bar);
                let p50 = |round: &Round| round.figures.p50_ms;
                let p99 = |round: &Round| round.figures.p99_ms;
                report.add("p50_ms", self.of_baton(p50), Bar::None);
                report.add("p99_ms", self.of_baton(p99), Bar::None);
                self.tell_costs(report);
            }
            Case::SyncAlways => {
                report.add("ceiling_sync_always_steps_per_s", self.bare(), Bar::None);
                report.add("sync_always_steps_per_s", self.baton(), Bar::None);
                report.add("sync_always_ratio", self.ratio(), bar);
            }
            Case::Alone => {
                report.add("ceiling_alone_p50_ms", self.bare(), Bar::None);
                report.add("alone_p50_ms", self.baton(), Bar::None);
                let p99 = |round: &Round| round.figures.p99_ms;
                report.add("alone_p99_ms", self.of_baton(p99), Bar::None);
                report.add("alone_ratio", self.ratio(), bar);
            }
            Case::FanOut => {
                report.add("ceiling_fanout_1000_s", self.bare() / 1e3, Bar::None);
                report.add("fanout_1000_s", self.baton() / 1e3, Bar::None);
                report.add("fanout_ratio", self.ratio(), bar);
            }
        }
    }

    /// Of full load only: what is alone leaves the machine idle most of the time.
    fn tell_costs(&self, report: &mut Report) {
        let cost = |of: fn(&Costs) -> f64| self.of_baton(|round| of(&round.costs));
        report.add("cpu_s_per_1000_steps", cost(|costs| costs.engine_cpu_s), Bar::None);
        report.add("worker_cpu_s_per_1000_steps", cost(|costs| costs.worker_cpu_s), Bar::None);
        report.add("nats_cpu_s_per_1000_steps", cost(|costs| costs.broker_cpu_s), Bar::None);
        report.add("client_cpu_s_per_1000_steps", cost(|costs| costs.client_cpu_s), Bar::None);
        // With those of the engine, its worker, the broker and the clients it says what a ratio would be on a machine
        // that others use, too.
        let bare = median(self.bare.iter().map(|round| round.cpu_s));
        report.add("ceiling_cpu_s_per_1000_steps", bare, Bar::None);
        report.add("disk_bytes_per_step", cost(|costs| costs.disk_bytes), Bar::None);
        report.add("rss_mib", cost(|costs| costs.rss_mib), Bar::None);
    }
}

fn compare(all: &[Measured], out: &mut impl Write) -> io::Result<()> {
    let mut table = report::table(&["load", "bare loop", "Baton", "", "ratio", "must be"]);
    for measured in all {
        let case = measured.case;
        let figures = [measured.bare(), measured.baton()].map(short);
        let [bare, baton] = figures;
        let (title, unit) = (case.title().to_owned(), case.unit().to_owned());
        table.add_row([title, bare, baton, unit, short(measured.ratio()), case.bar().to_string()]);
    }
    for column in [1, 2, 4] {
        align(&mut table, column);
    }
    writeln!(out, "{table}")
}
