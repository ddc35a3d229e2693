"""Mark what an avatar painted as synthetic: label, watermark, XMP and signed Content Credentials; and read it back."""
