"""The MCANet bundle, installed as a package."""
