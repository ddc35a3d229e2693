"""Write the rows of the sheet of clips for a data set on disk, MEAD or IMAvatar.

Run by hand, before the workflow. It reads folders and archives, and prints the rows or adds them to a sheet. The data
set stays in place, except for packed videos and, where asked for, images on white.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.interop.datasets import imavatar, mead
from selfieavatar.interop.datasets.sheet_writer import add_to_sheet, as_comment, as_text
from selfieavatar.settings.cli import main
from selfieavatar.settings.clip_sheet import COLUMNS, CONSENTS, NAME, ROLES, Clip
from selfieavatar.settings.config import preset_names

log = logging.getLogger("ingest")

MOST_NAMED = 5  # skipped files in the log


def build_parser() -> argparse.ArgumentParser:
    """Build the command line: the data set, then its options."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.ingest", description=__doc__, formatter_class=layout)
    parser.set_defaults(stage="ingest", section="ingest", settings="{}")
    sets = parser.add_subparsers(dest="dataset", required=True, metavar="mead | imavatar")
    one = sets.add_parser(
        "mead", help="MEAD: emotional talking faces", description=mead.__doc__, formatter_class=layout
    )
    _common(one, "MEAD's folder, or that of one actor")
    one.add_argument("--actors", type=_words, default=[], metavar="M003,W009", help="only these (default: all)")
    one.add_argument(
        "--views", type=_words, metavar="VIEWS",
        help=f"of {', '.join(mead.VIEWS)} (default: that of --assume-view, else front); several views of an actor "
        "become several subjects",
    )  # fmt: skip
    one.add_argument("--emotions", type=_words, default=list(mead.EMOTIONS), metavar="angry,sad", help="default: all")
    one.add_argument("--levels", type=_words, default=list(mead.LEVELS), metavar="1,3", help="default: all")
    for label, values in (("actor", None), ("view", mead.VIEWS), ("emotion", mead.EMOTIONS), ("level", mead.LEVELS)):
        one.add_argument(f"--assume-{label}", choices=values, metavar=label.upper(),
                         help=f"{label} of the videos whose path does not say it")  # fmt: skip
    one.add_argument("--test-share", type=float, default=0.2, help="share of each actor's videos to test on (0.2)")
    one.add_argument("--seed", type=int, default=1, help="seed of the random test split (1)")
    one.add_argument("--unpack", type=Path, help="where to unpack video.tar (default: the actor's folder)")
    two = sets.add_parser("imavatar", help="IMAvatar's videos", description=imavatar.__doc__, formatter_class=layout)
    _common(two, "IMAvatar's folder, or that of one subject")
    two.add_argument("--subjects", type=_words, default=[], metavar="subject1", help="only these (default: all)")
    two.add_argument("--train", type=_words, default=[], metavar="VIDEOS", help="default: the published ones")
    two.add_argument("--test", type=_words, default=[], metavar="VIDEOS", help="default: the published ones")
    two.add_argument("--white", type=Path, metavar="DIR", help="copy the videos there with the person over white")
    return parser


def _common(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("folder", type=Path, help=what)
    parser.add_argument(
        "--consent", required=True, choices=CONSENTS,
        help="why avatars of these people are allowed; `licence`: by the data set's terms, which you keep",
    )  # fmt: skip
    parser.add_argument("--preset", default="", choices=["", *preset_names()], help="preset of the rows")
    parser.add_argument("--out", type=Path, help="sheet to create or to add to (default: print the rows)")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word for word in text.split(",") if word))


def refuse_unknown(option: str, words: Sequence[str], known: Sequence[str]) -> None:
    """Check that there are words and all are known; UserError otherwise."""
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        reason = f"has an unknown value '{unknown[0]}'" if unknown else "is empty"
        raise UserError(f"--{option} {reason}; known: {', '.join(known)}")


def assumptions(args: argparse.Namespace) -> dict[str, str]:
    """Gather what --assume-... says of videos whose path does not."""
    given = {label: getattr(args, f"assume_{label}") for label in mead.ASSUMABLE}
    return {label: value.upper() if label == "actor" else value for label, value in given.items() if value}


def mead_clips(args: argparse.Namespace) -> list[Clip]:
    """Make the rows of the chosen videos of MEAD, and unpack these."""
    if args.views is None:
        args.views = [args.assume_view or "front"]
    for option, known in (("views", mead.VIEWS), ("emotions", mead.EMOTIONS), ("levels", mead.LEVELS)):
        refuse_unknown(option, getattr(args, option), known)
    if not 0 <= args.test_share < 1:
        raise UserError(f"--test-share {args.test_share} must be at least 0 and less than 1")
    assumed = assumptions(args)
    if not mead.is_actor(assumed.get("actor", "M003")):
        raise UserError(f"--assume-actor {assumed['actor']!r} is no name of MEAD's, like M003 or W009; correct it")
    found, left_out = mead.find_takes(args.folder, assumed=assumed)
    for reason in left_out[:MOST_NAMED]:
        log.warning("left out: %s", reason)
    if len(left_out) > MOST_NAMED:
        log.warning("left out: %d more", len(left_out) - MOST_NAMED)
    takes = mead.choose(found, [name.upper() for name in args.actors], args.views, args.emotions, args.levels)
    if not takes:
        why = f"; left out: {left_out[0]}" if left_out and not found else ""
        raise UserError(
            f"{args.folder} has no such video of MEAD ({len(found)} others){why}; see `--help` for the layout"
        )
    tests = mead.draw_test_split(takes, args.test_share, args.seed)
    packed = sum(bool(take.member) for take in takes)
    if packed:
        log.info("unpacking %d videos", packed)
    clips, places = [], mead.unpack_all(takes, args.folder, args.unpack)
    for take in takes:
        subject = take.actor if len(args.views) == 1 else f"{take.actor}_{take.view}"
        clips.append(_row(args, subject, take.clip, "test" if take in tests else "train", places[take]))
    log.info("%d videos of %d subjects, %d to test on (seed %d)", len(clips), len({clip.subject for clip in clips}),
             len(tests), args.seed)  # fmt: skip
    return clips


def imavatar_clips(args: argparse.Namespace) -> list[Clip]:
    """Make the rows of IMAvatar's videos, copied on white where asked for."""
    videos = imavatar.find_videos(args.folder)
    if args.subjects:
        refuse_unknown("subjects", args.subjects, sorted({video.subject for video in videos}))
        videos = [video for video in videos if video.subject in args.subjects]
    for video in videos:
        if not NAME.fullmatch(video.name) or not NAME.fullmatch(video.subject):
            raise UserError(f"{video.folder}: names of subject and video take letters, digits, _ and -; rename them")
    chosen = imavatar.roles(videos, args.train, args.test)
    trained, used = ({video.subject for video, role in chosen if role in roles} for roles in (("train",), ROLES))
    for subject in dict.fromkeys(video.subject for video in videos):
        if subject not in used:
            log.warning("%s is left out: none of its videos is named, and no published split has them", subject)
        elif subject not in trained:
            log.warning("%s has no video to train on, so it gets no avatar; name one by --train", subject)
    if args.white:
        if args.white.absolute().is_relative_to(args.folder.absolute()):
            raise UserError(f"--white {args.white} lies within {args.folder}; choose a folder elsewhere")
        chosen = [(imavatar.copy_on_white(video, args.white), role) for video, role in chosen]
    lacking = sum(video.lacks_masks() for video, _ in chosen)
    log.info("masks: %s", "all there, for matting.method: given" if not lacking else f"{lacking} videos lack some")
    lacking = sum(not video.has_coefficients() for video, _ in chosen)
    log.info("%s: %s", imavatar.COEFFICIENTS,
             "all there, for fit.coefficients" if not lacking else f"{lacking} videos have none")  # fmt: skip
    return [_row(args, video.subject, video.name, role, video.images) for video, role in chosen]


def _row(args: argparse.Namespace, subject: str, clip: str, role: str, source: Path) -> Clip:
    return Clip(subject, clip, role, str(source.absolute()), None, None, args.dataset, args.consent, args.preset)


def run(args: argparse.Namespace) -> None:
    """Find the clips and write their rows."""
    clips = {"mead": mead_clips, "imavatar": imavatar_clips}[args.dataset](args)
    comment = ""
    if args.dataset == "mead":  # makes the test split reproducible
        comment = f"mead: videos to test on drawn by --test-share {args.test_share:g} --seed {args.seed}"
        comment += "".join(f" --assume-{label} {value}" for label, value in assumptions(args).items())
    if args.out is None:
        sys.stdout.write("\t".join(COLUMNS) + "\n" + as_comment(comment) + as_text(clips))
        return
    added = add_to_sheet(args.out, clips, comment)
    log.info("%s: %d rows added, %d were there", args.out, added, len(clips) - added)


if __name__ == "__main__":
    main(build_parser(), run)
