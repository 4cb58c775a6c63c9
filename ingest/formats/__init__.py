"""The native log formats, one file each: `discover` lists the records, `read` gives one back."""
