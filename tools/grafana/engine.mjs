// What the tests of the dashboards need of Grafana; tools/install_grafana_packages.py makes one file of it.
export * from '@grafana/data';
export { firstValueFrom } from 'rxjs';
