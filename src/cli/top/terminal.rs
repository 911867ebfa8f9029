//! The terminal: raw, on its other screen, and as it was before when this is dropped, however that comes. Colours only where
//! `NO_COLOR` is not set (no-color.org).

use std::{
    io::{self, Stdout, Write as _},
    time::Duration,
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    execute, queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{
        BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
        EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
    },
};

use super::screen::Tone;
use crate::cli::connections::Sort;

/// What somebody wants.
pub(super) enum Key {
    Quit,
    Sort(Sort),
    Resized,
}

/// See the module's text.
pub(super) struct Terminal {
    out: Stdout,
    coloured: bool,
}

/// Columns, where there is a terminal.
pub(super) fn width() -> Option<usize> {
    size().ok().map(|(columns, _)| usize::from(columns))
}

impl Terminal {
    pub(super) fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on its drop puts things right.
        let mut terminal =
            Self { out: io::stdout(), coloured: std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()) };
        execute!(terminal.out, EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(terminal)
    }

    /// Draws the lines that `screen` makes for so many columns and rows.
    pub(super) fn draw(&mut self, screen: impl FnOnce(usize, usize) -> Vec<(Tone, String)>) -> io::Result<()> {
        let (columns, rows) = size()?;
        queue!(self.out, BeginSynchronizedUpdate)?;
        let lines = screen(usize::from(columns), usize::from(rows));
        for (row, (tone, line)) in (0_u16..).zip(&lines) {
            queue!(self.out, MoveTo(0, row))?;
            if self.coloured {
                match tone {
                    Tone::Plain => {}
                    Tone::Title => queue!(self.out, SetAttribute(Attribute::Bold))?,
                    Tone::Good => queue!(self.out, SetForegroundColor(Color::Green))?,
                    Tone::Bad => queue!(self.out, SetForegroundColor(Color::Red), SetAttribute(Attribute::Bold))?,
                }
            }
            queue!(self.out, Print(line))?;
            if self.coloured {
                queue!(self.out, ResetColor, SetAttribute(Attribute::Reset))?;
            }
            queue!(self.out, Clear(ClearType::UntilNewLine))?;
        }
        if let Ok(below) = u16::try_from(lines.len())
            && below < rows
        {
            queue!(self.out, MoveTo(0, below), Clear(ClearType::FromCursorDown))?;
        }
        queue!(self.out, EndSynchronizedUpdate)?;
        self.out.flush()
    }

    /// Waits that long for somebody to want something.
    pub(super) fn key(&mut self, patience: Duration) -> io::Result<Option<Key>> {
        if !event::poll(patience)? {
            return Ok(None);
        }
        Ok(match event::read()? {
            Event::Resize(..) => Some(Key::Resized),
            Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) => match code {
                KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
                KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
                KeyCode::Char('m') => Some(Key::Sort(Sort::Mailbox)),
                KeyCode::Char('o') => Some(Key::Sort(Sort::Outbox)),
                KeyCode::Char('r') => Some(Key::Sort(Sort::Restarts)),
                KeyCode::Char('i') => Some(Key::Sort(Sort::Idle)),
                _ => None,
            },
            _ => None,
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // There is nobody left to tell what does not work.
        let _ = execute!(self.out, EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}
