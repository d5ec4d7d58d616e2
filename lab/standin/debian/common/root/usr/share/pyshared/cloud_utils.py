"""What CloudStack's set-up commands share (stand-in): copied to where Python finds it by the package's script."""
