# lines: 4 5
FROM mcr.microsoft.com/powershell:7.4-alpine-3.17
SHELL ["pwsh", "-Command"]
RUN Set-ExecutionPolicy Bypass; iex ((New-Object Net.WebClient).DownloadString('https://community.chocolatey.org/install.ps1'))
RUN irm https://get.scoop.sh | Invoke-Expression
