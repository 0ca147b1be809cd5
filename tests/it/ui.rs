//! The content of the screen, and the effects of keys.

mod chosen;
mod clusters;
mod flows;
mod plots;
mod scene;
mod screens;
mod silences;
mod space;
mod tail;
mod time;

use pilothouse::ui::app::Ui;
use pilothouse::ui::key::Key;
use pilothouse::ui::paint::text_of;
use pilothouse::ui::request::{Effect, Msg};
use pilothouse::ui::run;
use pilothouse::ui::theme::Theme;
use pilothouse::ui::update::update;
use pilothouse_core::domain::settings::UiSettings;
use pilothouse_core::facts::world::World;
use pilothouse_core::state::ClusterState;

/// A person in front of a screen.
struct Desk {
    ui: Ui,
    world: World,
    theme: Theme,
}

impl Desk {
    fn new(mut state: ClusterState) -> Self {
        let (mut ui, problems) = Ui::new(&UiSettings::default());
        assert_eq!(problems, []);
        ui.now = scene::NOW;
        ui.clock_ms = 10_000;
        ui.frame = 1;
        Self { ui, world: scene::world(&mut state), theme: Theme::built_in("default").unwrap() }
    }

    fn dump(&mut self, width: u16, height: u16) -> String {
        let drawn = run::draw(&mut self.ui, &self.world, &self.theme, false, (width, height));
        self.ui.painted(self.ui.frame);
        self.ui.frame += 1;
        text_of(&drawn.buffer)
    }

    /// Presses keys, one after the other, in the table's form.
    fn press(&mut self, keys: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        for key in keys.split_whitespace() {
            effects.extend(update(&mut self.ui, &self.world, Msg::Key(Key::parse(key).unwrap())));
        }
        effects
    }

    fn type_text(&mut self, text: &str) -> Vec<Effect> {
        text.chars().flat_map(|c| update(&mut self.ui, &self.world, Msg::Key(Key::char(c)))).collect()
    }
}

#[test]
fn look() {
    type State = fn() -> ClusterState;
    let out = |title: &str, text: String| eprintln!("=== {title}\n{text}");
    for (w, h) in [(80, 24), (120, 36), (200, 50)] {
        out(&format!("trouble {w}x{h}"), Desk::new(scene::trouble()).dump(w, h));
    }
    let states: [(&str, State); 3] =
        [("loading", scene::loading), ("denied", scene::denied), ("stale", scene::stale)];
    for (name, state) in states {
        let mut desk = Desk::new(state());
        out(&format!("{name} 80x24"), desk.dump(80, 24));
        out(&format!("{name} 120x36"), desk.dump(120, 36));
    }
    for keys in [
        "tab",
        "2",
        "3",
        "4",
        "5",
        "5 enter",
        "2 enter",
        "d",
        "2 d",
        "4 d",
        "back-tab enter",
        "?",
        "n",
        "8",
        ": p a y",
        "S",
        "3 enter",
        "z",
        "5 tab",
    ] {
        let mut desk = Desk::new(scene::trouble());
        desk.dump(100, 30);
        for key in keys.split(' ') {
            desk.press(key);
            desk.dump(100, 30);
        }
        let effects = desk.press("");
        out(&format!("{keys} {effects:?}"), desk.dump(100, 30));
    }
}
