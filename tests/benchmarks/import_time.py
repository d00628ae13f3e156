"""What `import neurarust_jax` takes above `import jax`, in fresh interpreters.

Run: python -m tests.benchmarks.import_time
"""

from __future__ import annotations

import os
import subprocess
import sys

CODE = "import time, jax, jax.numpy; start = time.perf_counter(); import neurarust_jax; print(time.perf_counter() - start)"


def main() -> None:
    """Print the least of several runs."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds = [float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment).stdout) for _ in range(8)][1:]
    print(f"import neurarust_jax: {min(seconds):.3f} s above import jax (least of {len(seconds)}; median {sorted(seconds)[len(seconds) // 2]:.3f})")


if __name__ == "__main__":
    main()
