# What is made when nothing, or `variants`, is asked for by name. Wiring only.

AVATAR_FILES = ("avatar.pt", "metrics.json", "figures.html")  # what is asked for of an avatar or a variant


def all_targets():
    """What the sheet asks for: each subject's avatar, measured, with the pages about it, its footage and the tracking
    of its clips, and the table of results."""
    made = ("capture.html", *AVATAR_FILES)
    avatars = [f"<results>/{subject}/{name}" for subject in SHEET.subjects() for name in made]
    everybody = dict.fromkeys(clip.subject for clip in SHEET.clips)
    pages = [f"<results>/{subject}/tracking.html" for subject in everybody]
    return avatars + pages + (["<results>/table.md"] if avatars else [])


def variant_targets():
    """Every variant of every avatar of the sheet, measured."""
    folders = [f"<results>/{subject}/variants/{name}" for subject in SHEET.subjects() for name in variant_names()]
    return [f"{folder}/{file}" for folder in folders for file in AVATAR_FILES]
