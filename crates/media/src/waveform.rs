//! Pictures of a mono signal: a PNG for files and reports, block characters for the terminal.

use std::time::Duration;

use crate::analysis::SILENCE_PEAK;

mod canvas;

use canvas::Canvas;

/// Largest width and height of a picture, in pixels; larger requests are cut down to it.
pub const MAX_SIDE: u32 = 8_192;

/// A stretch of the signal drawn in a colour of its own, with a tinted background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First millisecond.
    pub start_ms: u64,
    /// First millisecond that is not part of it.
    pub end_ms: u64,
    /// Red, green, blue.
    pub rgb: [u8; 3],
}

const BACKGROUND: [u8; 3] = [0xFC, 0xFC, 0xFD];
const WAVE: [u8; 3] = [0x1F, 0x5F, 0xA8];
const LINE: [u8; 3] = [0xB8, 0xC0, 0xCC];
const TICK: [u8; 3] = [0x6B, 0x74, 0x82];

/// Height of the time scale below the wave, in pixels.
const SCALE_HEIGHT: u32 = 16;

/// Draws a PNG of `width` × `height` pixels: the lowest and highest sample under each column, a
/// centre line, a tick each second (each 10 seconds, minute, … where those would touch) and the
/// seconds in figures. Full scale is the full height. Of overlapping spans the later one counts.
pub fn draw(samples: &[i16], rate: u32, spans: &[Span], width: u32, height: u32) -> Vec<u8> {
    let mut canvas = Canvas::new(width.clamp(1, MAX_SIDE), height.clamp(1, MAX_SIDE), BACKGROUND);
    // A picture too low for both has only the wave.
    let scale = if canvas.height() > 3 * SCALE_HEIGHT { SCALE_HEIGHT } else { 0 };
    let wave = canvas.height() - scale;
    let columns = canvas.width();
    let span_at = |column: u32| {
        let from = samples_before(samples.len(), column, columns);
        let at_ms = from as u64 * 1_000 / u64::from(rate.max(1));
        spans.iter().rev().find(|span| (span.start_ms..span.end_ms).contains(&at_ms))
    };
    for column in 0..columns {
        if let Some(span) = span_at(column) {
            canvas.vertical(column, 0, wave, tinted(span.rgb));
        }
    }
    canvas.horizontal(wave / 2, LINE);
    for (column, (low, high)) in envelope(samples, columns).enumerate() {
        let column = column as u32;
        let colour = span_at(column).map_or(WAVE, |span| span.rgb);
        let (top, bottom) = (row_of(high, wave), row_of(low, wave));
        canvas.vertical(column, top, bottom + 1, colour);
    }
    if scale > 0 {
        draw_scale(&mut canvas, samples.len(), rate, wave);
    }
    canvas.to_png()
}

/// Draws with block characters: `rows` lines of `columns` characters, the loudest sample under each
/// column as a bar. Full scale is the full height; any sound shows, silence does not.
pub fn text(samples: &[i16], rate: u32, columns: usize, rows: usize) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = columns.clamp(1, MAX_SIDE as usize);
    let rows = rows.clamp(1, 256);
    let eighths: Vec<usize> = envelope(samples, columns as u32)
        .map(|(low, high)| usize::from(low.unsigned_abs().max(high.unsigned_abs())))
        .map(|peak| match peak {
            quiet if quiet <= usize::from(SILENCE_PEAK) => 0,
            loud => (loud * rows * 8).div_ceil(32_768).min(rows * 8),
        })
        .collect();
    let mut picture = String::with_capacity(rows * (columns * 3 + 1) + 80);
    for row in (0..rows).rev() {
        let line = eighths.iter().map(|&level| BLOCKS[level.saturating_sub(row * 8).min(8)]);
        picture.extend(line);
        picture.push('\n');
    }
    picture.push_str(&text_scale(samples.len(), rate, columns));
    picture
}

/// A line with the first and the last moment.
fn text_scale(length: usize, rate: u32, columns: usize) -> String {
    let duration = Duration::from_secs_f64(length as f64 / f64::from(rate.max(1)));
    let end = format!("{:.2} s", duration.as_secs_f64());
    if columns < end.len() + 4 {
        return String::new();
    }
    format!("0 s{end:>width$}\n", width = columns - 3)
}

/// Ticks and figures below the wave.
fn draw_scale(canvas: &mut Canvas, length: usize, rate: u32, top: u32) {
    let seconds = length as f64 / f64::from(rate.max(1));
    if seconds <= 0.0 {
        return;
    }
    let pixels_per_second = f64::from(canvas.width()) / seconds;
    let wide_enough = |least: f64| {
        let steps = [1_u32, 10, 60, 600, 3_600, 36_000];
        steps.into_iter().find(|&step| f64::from(step) * pixels_per_second >= least)
    };
    let Some(tick) = wide_enough(4.0) else { return };
    let figures = [1_u32, 2, 5, 10, 30, 60, 300, 600, 3_600, 36_000]
        .into_iter()
        .find(|&step| step >= tick && f64::from(step) * pixels_per_second >= 32.0);
    let column_of = |second: u32| (f64::from(second) * pixels_per_second) as u32;
    for second in (0..=seconds as u32).step_by(tick as usize) {
        canvas.vertical(column_of(second), top, top + 4, TICK);
    }
    for second in (0..=seconds as u32).step_by(figures.unwrap_or(u32::MAX) as usize) {
        canvas.vertical(column_of(second), top, top + 6, TICK);
        canvas.figures(column_of(second) + 2, top + 7, second, TICK);
    }
}

/// Lowest and highest sample under each column; every sample is under one.
fn envelope(samples: &[i16], columns: u32) -> impl Iterator<Item = (i16, i16)> {
    (0..columns).map(move |column| {
        let from = samples_before(samples.len(), column, columns);
        // Where columns are narrower than samples, a column shows the sample that it lies in.
        let to = samples_before(samples.len(), column + 1, columns).max(from + 1);
        let under = samples.get(from..to.min(samples.len())).unwrap_or(&[]);
        let low = under.iter().min().copied().unwrap_or(0);
        let high = under.iter().max().copied().unwrap_or(0);
        (low, high)
    })
}

fn samples_before(length: usize, column: u32, columns: u32) -> usize {
    (length as u128 * u128::from(column) / u128::from(columns.max(1))) as usize
}

/// The row of a sample in a wave of this height; 0 is the top.
fn row_of(sample: i16, height: u32) -> u32 {
    let from_top = u64::from((32_767 - i32::from(sample)).unsigned_abs());
    (from_top * u64::from(height - 1) / 65_535) as u32
}

/// A light background of the same hue.
fn tinted(rgb: [u8; 3]) -> [u8; 3] {
    rgb.map(|part| 255 - (255 - part) / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels of a PNG, and its width.
    fn pixels(png: &[u8]) -> (Vec<[u8; 3]>, usize) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        (bytes.as_chunks().0.to_vec(), frame.width as usize)
    }

    fn tone(seconds: u32) -> Vec<i16> {
        (0..seconds * 8_000).map(|n| ((f64::from(n) * 0.3).sin() * 16_000.0) as i16).collect()
    }

    #[test]
    fn a_tone_fills_the_middle_half_and_silence_only_the_line() {
        let signal = [tone(1), vec![0; 8_000]].concat();
        let (picture, width) = pixels(&draw(&signal, 8_000, &[], 200, 116));
        assert_eq!((picture.len(), width), (200 * 116, 200));
        let waved = |column: usize| -> Vec<usize> {
            (0..100).filter(|row| picture[row * 200 + column] == WAVE).collect()
        };
        assert!((47..=51).contains(&waved(50).len()), "{:?}", waved(50));
        assert_eq!(waved(150), [49]);
    }

    #[test]
    fn a_span_colours_its_part_of_the_wave() {
        let red = [200, 0, 0];
        let span = Span { start_ms: 500, end_ms: 1_000, rgb: red };
        let (picture, width) = pixels(&draw(&tone(2), 8_000, &[span], 200, 100));
        let coloured: Vec<usize> =
            (0..width).filter(|column| picture[42 * width + column] == red).collect();
        assert_eq!((coloured.first(), coloured.last()), (Some(&50), Some(&99)));
    }

    #[test]
    fn odd_sizes_and_empty_signals_are_drawn() {
        for (width, height) in [(0, 0), (1, 1), (3, 1_000), (50, 17), (40_000, 2)] {
            for samples in [&[][..], &[5], &[i16::MIN, i16::MAX]] {
                let (_, drawn) = pixels(&draw(samples, 0, &[], width, height));
                assert_eq!(drawn, width.clamp(1, MAX_SIDE) as usize);
                assert!(!text(samples, 0, width as usize, height as usize).is_empty());
            }
        }
    }

    #[test]
    fn the_text_shows_loud_and_quiet() {
        let signal = [vec![i16::MAX; 800], vec![0; 800], vec![8_000; 800], vec![100; 800]].concat();
        assert_eq!(text(&signal, 800, 4, 2), "█   \n█ ▄▁\n");
        let scaled = text(&signal, 800, 12, 1);
        assert_eq!(scaled, "███   ▂▂▂▁▁▁\n0 s   4.00 s\n");
    }
}
