"""Dockerfiles, Compose files and Kubernetes manifests in, findings about privileges and hygiene out."""
