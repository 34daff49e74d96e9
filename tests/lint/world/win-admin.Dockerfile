# escape=`
FROM mcr.microsoft.com/windows/nanoserver:1809
USER ContainerAdministrator
RUN net user app P@ssw0rd! /add
RUN powershell -Command "iex ((New-Object System.Net.WebClient).DownloadString('https://community.chocolatey.org/install.ps1'))"
CMD ["cmd"]
