"""A Dockerfile in, its instructions with exact places and the stages that they make out."""
