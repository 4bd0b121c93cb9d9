//! What the files of a category hold: unreadable ones, empty masks, sizes and kinds of pixels, the same picture twice.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{CategoryCounts, CheckOptions, Depth, Findings};
use crate::dataset::{Category, GroundTruth, MaskValues, Sample, SaturationArea, names::defective_word};
use crate::decode::{
    BitDepth, DecodeOptions, ImageHeader, ImageSource, SampleRange, decode_image, grey_levels, image_header,
    low_contrast, read_file, read_mask, upright_header,
};
use crate::error::DataError;

/// A mask that marks more than this share of its image may be inverted.
const MOST_MARKED: f64 = 0.5;
/// Of a mask's pixels that are not 0, this share may be too faint to count before it is noted.
const MOST_FAINT: f64 = 0.05;

/// Files to look at: images, and those with a mask once more.
pub(super) fn files(category: &Category) -> usize {
    images(category).len() + category.test.iter().filter(|sample| sample.mask.is_some()).count()
}

/// Reads all files of a category, and counts.
pub(super) fn look(
    category: &Category,
    options: &CheckOptions,
    advance: &(dyn Fn() + Sync),
    findings: &mut Findings,
) -> CategoryCounts {
    let mut counts = CategoryCounts::of(category);
    let images = images(category);
    let headers: Vec<Result<(ImageHeader, Option<Pixels>), DataError>> = images
        .par_iter()
        .map(|image| {
            let header = read(image.path, options);
            advance();
            header
        })
        .collect();
    for header in &headers {
        match header {
            Ok((header, _)) => counts.see(header.size, &header.pixels),
            Err(error) => findings.error(error),
        }
    }
    let read = images.iter().zip(&headers).filter_map(|(image, header)| Some((image, header.as_ref().ok()?)));
    brightness(
        read.clone().filter_map(|(image, (_, pixels))| Some((image, pixels.as_ref()?))),
        options,
        findings,
    );
    further(read.map(|(image, (header, pixels))| (image, header, pixels.as_ref())), findings);
    counts.sort_sizes();
    let masked: Vec<(&Sample, &GroundTruth)> =
        category.test.iter().filter_map(|sample| Some((sample, sample.mask.as_ref()?))).collect();
    let looked_at: Vec<Result<Marked, (&'static str, String)>> = masked
        .par_iter()
        .map(|(sample, truth)| {
            let marked = look_at_mask(sample, truth, &options.decode);
            advance();
            marked
        })
        .collect();
    masks(&masked, looked_at, findings);
    mixed(&counts, findings);
    names(category, findings);
    duplicates(&images, findings);
    counts
}

/// An image and what it is used for.
struct Image<'a> {
    path: &'a Path,
    part: Part,
    /// The defect, where it is known.
    label: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Train,
    Validation,
    Test,
    LeftOut,
}

fn images(category: &Category) -> Vec<Image<'_>> {
    let parts = [
        (Part::Train, &category.train),
        (Part::Validation, &category.validation),
        (Part::Test, &category.test),
    ];
    let samples = parts.into_iter().flat_map(|(part, samples)| {
        samples.iter().map(move |s| Image { path: &s.path, part, label: Some(s.defect.as_str()) })
    });
    let left_out = category.left_out.iter().flat_map(|left_out| &left_out.images);
    samples.chain(left_out.map(|path| Image { path, part: Part::LeftOut, label: None })).collect()
}

/// What is remembered of decoded pixels.
struct Pixels {
    source: ImageSource,
    levels: u8,
}

/// Reads a header, and the pixels where they are asked for or only they tell how bright white is.
fn read(path: &Path, options: &CheckOptions) -> Result<(ImageHeader, Option<Pixels>), DataError> {
    // An empty file has no header to complain about.
    let header = image_header(path, &options.decode)?;
    if options.depth != Depth::Pixels && !header.open_range {
        return Ok((header, None));
    }
    let decoded = decode_image(&read_file(path, options.decode.max_pixels)?, path, &options.decode)?;
    let levels = grey_levels(&decoded.pixels);
    Ok((header, Some(Pixels { source: decoded.source, levels })))
}

/// What the good photographs that a model is made of need: bits of the camera, contrast.
fn brightness<'a>(
    decoded: impl Iterator<Item = (&'a Image<'a>, &'a Pixels)>,
    options: &CheckOptions,
    findings: &mut Findings,
) {
    let mut range = SampleRange::default();
    let good = |image: &Image<'_>| {
        matches!(image.part, Part::Train | Part::Validation) && image.label == Some(crate::dataset::GOOD)
    };
    let good: Vec<&Pixels> = decoded.filter(|(image, _)| good(image)).map(|(_, pixels)| pixels).collect();
    good.iter().for_each(|pixels| range.see(&pixels.source));
    let resolved = range.resolve(&options.decode);
    range.notes(&resolved).into_iter().for_each(|note| findings.note("bit-depth", note));
    // Pixels were decoded without the depth: what they use of white is used of the depth's white, too.
    let stretch = match range.files {
        0 => 1.0,
        _ => BitDepth::Auto.white() / resolved.bit_depth.white(),
    };
    let levels = good.iter().map(|pixels| (f64::from(pixels.levels) * stretch).min(255.0) as u8).collect();
    low_contrast(levels).into_iter().for_each(|note| findings.note("low-contrast", note));
}

/// What is in files and not looked at, or looked at though nobody sees it.
fn further<'a>(
    images: impl Iterator<Item = (&'a Image<'a>, &'a ImageHeader, Option<&'a Pixels>)>,
    findings: &mut Findings,
) {
    let (mut pages, mut transparent) = (vec![], vec![]);
    for (image, header, pixels) in images {
        if header.pages > 1 {
            pages.push(image.path);
        }
        if pixels.is_some_and(|pixels| pixels.source.transparent > 0) {
            transparent.push(image.path);
        }
    }
    let of = |paths: &[&Path]| match paths {
        [only] => only.display().to_string(),
        [first, more @ ..] => format!("{} and {} more", first.display(), more.len()),
        [] => String::new(),
    };
    if !pages.is_empty() {
        let what = "have several pages, of which the first of full size is read and the others are not";
        findings.note("several-pages", format!("{} {what}", of(&pages)));
    }
    if !transparent.is_empty() {
        let what = "are transparent in places: what is hidden there is inspected like the rest";
        findings.note("transparent", format!("{} {what}", of(&transparent)));
    }
}

/// What a mask marks.
#[derive(Debug, Clone, Copy, Default)]
struct Marked {
    /// Share of the image.
    share: f64,
    /// Share of the pixels that are not 0 and are too faint to count.
    faint: f64,
}

/// Looks at a ground truth; an error is what is wrong with it.
fn look_at_mask(
    sample: &Sample,
    truth: &GroundTruth,
    decode: &DecodeOptions,
) -> Result<Marked, (&'static str, String)> {
    let of_error = |error: DataError| (super::kind(&error), error.to_string());
    if !truth.has_saturation() {
        let empty = |path: &Path| {
            let message = format!("the mask {} marks nothing, and its image is anomalous", path.display());
            ("empty-mask", message)
        };
        let path = truth.files().first().map_or(Path::new(""), PathBuf::as_path);
        let (mask, faint) = match truth {
            GroundTruth::Mask { path, values: MaskValues::Bright } => {
                let mask = read_mask(path, decode).map_err(of_error)?;
                (mask.pixels, mask.faint)
            }
            _ => match upright_header(&sample.path, decode) {
                Ok((size, _)) => match truth.read_for(&sample.path, size, decode) {
                    Ok(mask) => (mask, 0),
                    // Sizes are compared already.
                    Err(DataError::MaskSize { .. }) => return Ok(Marked::default()),
                    Err(error) => return Err(of_error(error)),
                },
                // Told of the image.
                Err(_) => return Ok(Marked::default()),
            },
        };
        let marked = mask.iter().filter(|&&value| value > 0).count();
        if marked == 0 {
            return Err(empty(path));
        }
        let share = marked as f64 / mask.len().max(1) as f64;
        return Ok(Marked { share, faint: faint as f64 / (marked + faint) as f64 });
    }
    let defects = match truth.read_defects(decode) {
        Ok(defects) => defects,
        // Sizes are compared with the image's already.
        Err(DataError::MaskSize { .. }) => return Ok(Marked::default()),
        Err(error) => return Err(of_error(error)),
    };
    let wrong = defects.iter().zip(truth.files()).find_map(|(defect, path)| {
        let area = defect.mask.iter().filter(|&&value| value > 0).count();
        let SaturationArea::Share(share) = defect.kind.saturation else { return None };
        ((share * area as f64) as usize == 0).then(|| {
            let message = format!(
                "the mask {} marks {area} pixels, of which the saturation area of `{}`, a share of {share}, is none",
                path.display(),
                defect.kind.name
            );
            ("defect-mask", message)
        })
    });
    wrong.map_or(Ok(Marked::default()), Err)
}

/// Says what is wrong with masks, and what may be.
fn masks(
    masked: &[(&Sample, &GroundTruth)],
    looked_at: Vec<Result<Marked, (&'static str, String)>>,
    findings: &mut Findings,
) {
    for ((_, truth), marked) in masked.iter().zip(looked_at) {
        let path = truth.files().first().map_or(Path::new(""), PathBuf::as_path).display();
        match marked {
            Err((kind, message)) => findings.problem(kind, message),
            Ok(Marked { share, .. }) if share > MOST_MARKED => {
                let percent = 100.0 * share;
                let message = format!(
                    "the mask {path} marks {percent:.0} % of its image as defective: is it inverted?"
                );
                findings.note("large-mask", message);
            }
            Ok(Marked { faint, .. }) if faint > MOST_FAINT => {
                let percent = 100.0 * faint;
                let message = format!(
                    "of what the mask {path} holds, {percent:.0} % is darker than half of white and taken for soft \
                     edges, not for defects; if they are class numbers, save the mask with a palette"
                );
                findings.note("faint-mask", message);
            }
            Ok(_) => {}
        }
    }
}

fn mixed(counts: &CategoryCounts, findings: &mut Findings) {
    /// Sizes that a message names.
    const SHOWN: usize = 5;
    if counts.sizes.len() > 1 {
        let one = |size: &super::SizeCount| format!("{} x {} ({})", size.size[0], size.size[1], size.images);
        let mut sizes: Vec<String> = counts.sizes.iter().take(SHOWN).map(one).collect();
        if counts.sizes.len() > SHOWN {
            sizes.push(format!("{} more sizes", counts.sizes.len() - SHOWN));
        }
        findings.note("mixed-sizes", format!("images of several sizes: {}", sizes.join(", ")));
    }
    if counts.pixels.len() > 1 {
        let kinds: Vec<String> =
            counts.pixels.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
        findings.note("mixed-pixels", format!("images of several kinds: {}", kinds.join(", ")));
    }
}

/// Images that are trained on and sound defective.
fn names(category: &Category, findings: &mut Findings) {
    for sample in category.train.iter().chain(&category.validation) {
        let below = sample
            .path
            .strip_prefix(&category.root)
            .unwrap_or(Path::new(sample.path.file_name().unwrap_or_default()));
        if let Some(word) = defective_word(&below.to_string_lossy()) {
            let message =
                format!("{} is trained on as good, and its name says `{word}`", sample.path.display());
            findings.note("suspicious-name", message);
        }
    }
}

/// Files with the same bytes.
fn duplicates(images: &[Image<'_>], findings: &mut Findings) {
    let mut by_length: BTreeMap<u64, Vec<&Image<'_>>> = BTreeMap::new();
    for image in images {
        if let Ok(data) = std::fs::metadata(image.path)
            && data.len() > 0
        {
            by_length.entry(data.len()).or_default().push(image);
        }
    }
    let candidates: Vec<&Image<'_>> =
        by_length.into_values().filter(|same| same.len() > 1).flatten().collect();
    let hashes: Vec<Option<u64>> = candidates.par_iter().map(|image| hash(image.path).ok()).collect();
    let mut by_hash: BTreeMap<u64, Vec<&Image<'_>>> = BTreeMap::new();
    for (image, hash) in candidates.into_iter().zip(hashes) {
        if let Some(hash) = hash {
            by_hash.entry(hash).or_default().push(image);
        }
    }
    let mut groups: Vec<Vec<&Image<'_>>> = by_hash.into_values().flat_map(same_bytes).collect();
    groups.sort_by_key(|group| (group[0].part, group[0].path.to_path_buf()));
    for group in groups {
        tell(&group, findings);
    }
}

fn tell(group: &[&Image<'_>], findings: &mut Findings) {
    let names: Vec<String> = group.iter().map(|image| image.path.display().to_string()).collect();
    let names = names.join(" = ");
    let has = |part: Part| group.iter().any(|image| image.part == part);
    let in_test = group.iter().filter(|image| image.part == Part::Test);
    let is_good = |image: &&&Image<'_>| image.label == Some(crate::dataset::GOOD);
    let contradiction =
        in_test.clone().any(|image| is_good(&image)) && in_test.clone().any(|image| !is_good(&image));
    match () {
        () if has(Part::Train) && has(Part::Test) => {
            findings.problem("leak", format!("trained on and tested on, the same bytes: {names}"));
        }
        () if has(Part::Validation) && (has(Part::Train) || has(Part::Test)) => {
            findings
                .problem("leak", format!("in the validation set and in another, the same bytes: {names}"));
        }
        () if contradiction => {
            findings.problem("contradiction", format!("good and defective, the same bytes: {names}"));
        }
        () => findings.note("duplicate", format!("the same bytes: {names}")),
    }
}

/// Files of one hash, in groups of the same bytes; those that are alone are left out.
fn same_bytes<'a>(mut images: Vec<&'a Image<'a>>) -> Vec<Vec<&'a Image<'a>>> {
    let mut groups = vec![];
    while images.len() > 1 {
        let first = images.remove(0);
        let Ok(content) = std::fs::read(first.path) else { continue };
        let (same, others): (Vec<_>, Vec<_>) = images
            .into_iter()
            .partition(|image| std::fs::read(image.path).is_ok_and(|bytes| bytes == content));
        images = others;
        if !same.is_empty() {
            groups.push([vec![first], same].concat());
        }
    }
    groups
}

fn hash(path: &Path) -> std::io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut file = std::fs::File::open(PathBuf::from(path))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.write(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_hash_are_compared_byte_by_byte() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c", "d"].map(|name| dir.path().join(name));
        for (path, content) in paths.iter().zip(["one", "two", "one", "six"]) {
            std::fs::write(path, content).unwrap();
        }
        let images: Vec<Image<'_>> = paths
            .iter()
            .map(|path| Image { path, part: Part::Train, label: Some(crate::dataset::GOOD) })
            .collect();
        // As if all four had the same hash.
        let groups = same_bytes(images.iter().collect());
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].iter().map(|image| image.path).collect::<Vec<_>>(), [&paths[0], &paths[2]]);
        assert_eq!(hash(&paths[0]).unwrap(), hash(&paths[2]).unwrap());
        assert_ne!(hash(&paths[0]).unwrap(), hash(&paths[1]).unwrap());
    }
}
