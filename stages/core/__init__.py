"""What every stage needs: files, manifests, settings, provenance, devices."""
