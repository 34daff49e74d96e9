FROM mcr.microsoft.com/powershell:7.4-alpine-3.17
SHELL ["pwsh", "-NoLogo", "-Command"]
RUN Install-Module -Name X -Force ; curl https://x | iex
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]
RUN curl -sSL https://x/y | tar xz
SHELL ["/usr/bin/env", "fish", "-c"]
RUN curl -sSL https://x/y | tar xz
SHELL ["python3", "-c"]
RUN import os; os.system("curl https://x | sh")
USER 5
HEALTHCHECK CMD x
