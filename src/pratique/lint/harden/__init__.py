"""What an image shows and a manifest says in, the least privileges out that it runs with, as far as files can tell."""
